"""Following instances.json: what is to be done is decided in `plan`, and done in `reloader`."""
