"""The configuration: environment variables, instances.json, and the fields of an instance.

This module imports nothing, because `comfysup health` starts with `run_location`.
"""
