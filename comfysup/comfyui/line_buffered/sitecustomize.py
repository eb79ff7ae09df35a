"""Sets line buffering on stdout and stderr; imported by an environment's Python before `main.py`.

ComfyUI wraps both streams and inherits their line buffering. On a FIFO Python's stdout has none
(with PYTHONUNBUFFERED=1 neither stream has), so prints would appear late and be lost in a crash.

Python imports this module because its directory is first in PYTHONPATH. The module removes that
entry for ComfyUI and its child processes, and imports the `sitecustomize` that it shadows. It must
run on every Python that ComfyUI supports (3.9).
"""

# ruff: noqa: INP001 - a directory for PYTHONPATH, and no package

import os
import sys


def _set_line_buffering() -> None:
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(line_buffering=True)


def _leave_the_path() -> None:
    here = os.path.dirname(__file__)  # noqa: PTH120 - pathlib costs 5 ms of each start
    sys.path[:] = [entry for entry in sys.path if entry != here]
    entries = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    others = os.pathsep.join(entry for entry in entries if entry != here)
    os.environ.pop("PYTHONPATH", None)
    if others:
        os.environ["PYTHONPATH"] = others


def _give_way() -> None:
    """Import the next `sitecustomize`; the import system wants one of that name in any case."""
    this = sys.modules.pop("sitecustomize")
    try:
        __import__("sitecustomize")  # another one now
    except ImportError as error:
        if error.name != "sitecustomize":
            raise
        sys.modules["sitecustomize"] = this


_set_line_buffering()
_leave_the_path()
_give_way()
