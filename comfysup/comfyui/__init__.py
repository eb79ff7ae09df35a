"""The only place that knows ComfyUI: its environments, command, answers and last words."""
