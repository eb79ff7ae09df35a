"""The heart: what an instance is, how it lives, and who may have which id, name and port.

Nothing here knows Linux, ComfyUI or HTTP; `protocols` says what it needs of them.
"""
