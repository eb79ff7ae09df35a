"""What comfysup needs of Linux: processes, the host, and the files of the run directory."""
