"""The run directory: its lock, the state file, PID files, and what passes to the next program."""
