"""The run directory: lock, state file, PID files, and the handover to the next program."""
