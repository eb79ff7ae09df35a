"""All knowledge of ComfyUI: its environments, command line, HTTP API and output."""
