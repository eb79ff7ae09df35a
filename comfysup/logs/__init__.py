"""The logs of instances: written, rotated and read without blocking the daemon."""
