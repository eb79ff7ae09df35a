"""The daemon: its lifecycle, the construction of its parts, and their interaction."""
