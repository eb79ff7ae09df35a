"""Linux interfaces of comfysup: processes, the host, and the files of the run directory."""
