"""Processes: spawn, follow their descendants, signal and reap."""
