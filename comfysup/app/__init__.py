"""The daemon: its story, how its parts are put together, and what they do with each other."""
