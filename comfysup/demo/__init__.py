"""A stand-in for ComfyUI in the demo and the tests, which a supervisor cannot tell from ComfyUI.

The `main.py` of an environment built by `workspace.build_environment` calls `main`. The stand-in
takes ComfyUI's arguments, loads for a while before its port opens, serves the same routes, has a
queue of prompts and handles signals as observed with ComfyUI 0.3.64. Environment variables make it
misbehave; they are listed in `misbehaviour`, and its node classes in `nodes`.
"""

from comfysup.demo.program import main

__all__ = ["main"]
