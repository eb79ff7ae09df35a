"""The core: instances, their lifecycle, and the uniqueness of ids, names and ports.

This package imports nothing of Linux, ComfyUI or HTTP. `protocols` declares the interfaces that it
needs from them.
"""
