"""A stand-in for ComfyUI, for the demo and the tests: real in what a supervisor can see of it.

`main.py` of an environment that `workspace.build_environment` made runs `main`. It takes
ComfyUI's arguments, loads for a while before its port opens, answers the same routes, keeps a
queue of prompts and ends on signals as ComfyUI 0.3.64 was seen to. Where it shall misbehave is
said by environment variables; `misbehaviour` lists them, `nodes` the node classes it executes.
"""

from comfysup.demo.program import main

__all__ = ["main"]
