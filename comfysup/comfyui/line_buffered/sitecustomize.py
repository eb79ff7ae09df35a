"""Run by the Python of an environment before `main.py`: sets line buffering on stdout and stderr.

ComfyUI wraps both streams and takes line buffering over from them. On a FIFO Python's stdout has
none (and with PYTHONUNBUFFERED=1 neither stream has), so that a `print` would appear late, and be
lost when the process dies.

Python imports this module because its directory stands first in PYTHONPATH. It takes that out
again, for ComfyUI and for the processes that ComfyUI starts, and gives way to the `sitecustomize`
that would have been imported without it. Must run on every Python that ComfyUI runs on (3.9).
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
