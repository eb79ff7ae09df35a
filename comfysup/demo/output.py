"""Output of the stand-in: log lines like ComfyUI's, floods, raw bytes, progress bars.

`log` writes to stderr, one message per line without a prefix, as ComfyUI does. Floods and raw bytes
are written to descriptor 1 without buffering, so that a SIGKILL loses none of them.
"""

import os
import sys
import threading
import time
from pathlib import Path

from comfysup.demo.misbehaviour import Flood

_STDOUT = 1
# A write to a pipe is atomic up to this size (PIPE_BUF), so threads do not mix their lines.
_ATOMIC = 4096


def log(message: str) -> None:
    """Write one message to stderr and flush."""
    print(message, file=sys.stderr, flush=True)


def copy_to_stdout(path: Path) -> None:
    """Write the bytes of the file unchanged."""
    _write(path.read_bytes())


def start_flood(flood: Flood) -> threading.Thread:
    """Write the numbered lines in a separate thread, then `flood done LINES`."""
    thread = threading.Thread(target=write_flood, args=(flood,), daemon=True, name="flood")
    thread.start()
    return thread


def write_flood(flood: Flood) -> None:
    """Write the numbered lines; without a rate, in blocks of up to `_ATOMIC` bytes."""
    started = time.monotonic()
    block = b""
    for number in range(flood.lines):
        line = f"flood {number:09d} ".ljust(flood.width, "x").encode() + b"\n"
        if flood.per_second is not None:
            time.sleep(max(0.0, started + number / flood.per_second - time.monotonic()))
        elif len(block) + len(line) <= _ATOMIC:
            block += line
            continue
        _write(block or line)
        block = line if block else b""
    _write(block + f"flood done {flood.lines}\n".encode())


def show_progress(step: int, steps: int) -> None:
    """Draw a bar as tqdm does: over the previous one, with a line end only after the last."""
    filled = "█" * (step * 10 // steps)
    end = "\n" if step == steps else ""
    bar = f"\r{step * 100 // steps:3d}%|{filled:10}| {step}/{steps} [00:00<00:00, 10.00it/s]{end}"
    sys.stderr.write(bar)
    sys.stderr.flush()


def _write(data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(_STDOUT, view) :]
