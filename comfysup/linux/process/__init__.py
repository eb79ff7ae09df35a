"""Processes: started, followed with all that descends from them, signalled and reaped."""
