"""The processes that a stand-in leaves behind: what custom nodes start and nobody ends.

| kind | |
|---|---|
| `child` | in the stand-in's process group |
| `grandchild` | the same, behind a shell |
| `group` | in a process group of its own |
| `session` | in a session of its own |
| `port` | in a session of its own, and it inherits the listening socket |

They sleep for a day, hold the stand-in's output open, and are named on stderr by
`standin: KIND is PID` (for `grandchild` the shell's).
"""

import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from comfysup.demo.misbehaviour import Misbehaviour

_SLEEP = ("sleep", "86400")
_COMMANDS = {
    "child": _SLEEP,
    "grandchild": ("sh", "-c", "sleep 86400 & wait; :"),
    "group": _SLEEP,
    "session": _SLEEP,
    "port": _SLEEP,
}


def start_relatives(misbehaviour: Misbehaviour) -> None:
    """Starts all but those of kind `port`, then makes the orphans. Call it before any thread."""
    for kind in misbehaviour.children:
        if kind not in _COMMANDS:
            raise SystemExit(f"cannot stand in: no kind of child {kind!r}")
        if kind != "port":
            _start(kind, misbehaviour.children_ignore)
    for number in range(misbehaviour.orphans):
        _make_orphan(number % 256)


def start_port_holders(misbehaviour: Misbehaviour, sockets: Iterable[int]) -> None:
    """Starts those of kind `port`; `sockets` are descriptors of the listening sockets."""
    for kind in misbehaviour.children:
        if kind == "port":
            _start(kind, misbehaviour.children_ignore, tuple(sockets))


def _start(kind: str, ignore: Iterable[signal.Signals], sockets: tuple[int, ...] = ()) -> None:
    with _ignoring(ignore):
        relative = subprocess.Popen(  # noqa: S603 - one of the commands above
            _COMMANDS[kind],
            stdin=subprocess.DEVNULL,
            pass_fds=sockets,
            process_group=0 if kind == "group" else None,
            start_new_session=kind in {"session", "port"},
        )
    print(f"standin: {kind} is {relative.pid}", file=sys.stderr, flush=True)
    # Left running on purpose; without this the interpreter would warn.
    relative.returncode = 0


@contextmanager
def _ignoring(signals: Iterable[signal.Signals]) -> Iterator[None]:
    """Ignores signals in the context; programs started there inherit that."""
    before = {number: signal.signal(number, signal.SIG_IGN) for number in signals}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _make_orphan(code: int) -> None:
    """Exits with the code only after its parent ended, so that it falls to the nearest reaper."""
    parent = os.fork()
    if parent:
        os.waitpid(parent, 0)
        return
    middle = os.getpid()
    if os.fork():
        os._exit(0)
    while os.getppid() == middle:
        os.sched_yield()
    os._exit(code)
