"""What people set: environment variables, the file of instances, and the fields of an instance.

Imports nothing: `comfysup health` begins in `run_location`.
"""
