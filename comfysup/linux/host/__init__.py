"""The machine: its ports, its GPUs, what processes use of it, and which boot it is in."""
