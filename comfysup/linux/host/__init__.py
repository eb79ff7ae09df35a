"""The machine: ports, GPUs, resource usage, memory kills and boot identity."""
