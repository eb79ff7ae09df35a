"""Lets paths stop answering, as those of an NFS server that is gone, and tells who asked for them.

`STALLED` names a file of the test with one directory a line: a call on a path below one of them
waits until the line is gone. `STALLED_LOOP` names a file to which such a call is added, with its
stack, when an event loop runs in the thread that makes it: it would have stopped the loop.
"""

import asyncio
import contextlib
import os
import sys
import time
import traceback

_stat = os.stat
_list = os.environ["STALLED"]
_report = os.environ["STALLED_LOOP"]
_ASKED = {"open", "os.scandir", "os.listdir", "os.mkdir", "os.remove", "os.rename", "os.chmod"}


def _stalled(path: object) -> bool:
    if not isinstance(path, str | bytes | os.PathLike):
        return False
    path = os.path.normpath(os.fsdecode(path))
    try:
        size = _stat(_list).st_size
    except OSError:
        return False
    return bool(size) and any(path == each or path.startswith(f"{each}/") for each in _lines())


def _lines() -> list[str]:
    file = os.open(_list, os.O_RDONLY)
    try:
        return os.read(file, 65536).decode().splitlines()
    finally:
        os.close(file)


def _wait(what: str, path: object) -> None:
    if not _stalled(path):
        return
    with contextlib.suppress(RuntimeError):
        asyncio.get_running_loop()
        file = os.open(_report, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.write(file, f"{what} {path}\n{''.join(traceback.format_stack(limit=8))}\n".encode())
        os.close(file)
    while _stalled(path):
        time.sleep(0.02)


def _hear(event: str, args: tuple[object, ...]) -> None:
    if event == "subprocess.Popen":
        for each in (args[0], args[2]):
            _wait(event, each)
    elif event in _ASKED and args and args[0] not in (_list, _report):
        _wait(event, args[0])


def _asking(name: str) -> None:
    real = getattr(os, name)

    def ask(path: object, *args: object, **options: object) -> object:
        _wait(f"os.{name}", path)
        return real(path, *args, **options)

    setattr(os, name, ask)


for _name in ("stat", "lstat", "access", "readlink", "statvfs", "mkfifo"):
    _asking(_name)  # of these Python's audit tells nothing
sys.addaudithook(_hear)
