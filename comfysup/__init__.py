"""comfysup starts, watches, restarts and stops ComfyUI instances."""
