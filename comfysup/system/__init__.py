"""What comfysup needs of Linux: processes, pipes, files of the run directory, listeners."""
