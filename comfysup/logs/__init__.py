"""The logs of instances: written past the daemon, rotated, and read by callers at their pace."""
