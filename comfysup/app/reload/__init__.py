"""Reloads of instances.json: `plan` decides the steps, and `reloader` performs them."""
