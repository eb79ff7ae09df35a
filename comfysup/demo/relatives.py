"""Processes that the stand-in leaves behind, like those that custom nodes start and never end.

| kind | |
|---|---|
| `child` | in the stand-in's process group |
| `grandchild` | the same, started by a shell |
| `group` | in its own process group |
| `session` | in its own session |
| `port` | in its own session, with the inherited listening socket |

They sleep for a day and keep the stand-in's output open. The stand-in reports each on stderr as
`standin: KIND is PID`; for `grandchild` that is the pid of the shell.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from comfysup.demo.misbehaviour import PREFIX, Misbehaviour

_SLEEP = ("sleep", "86400")
_COMMANDS = {
    "child": _SLEEP,
    "grandchild": ("sh", "-c", "sleep 86400 & wait; :"),
    "group": _SLEEP,
    "session": _SLEEP,
    "port": _SLEEP,
}


def start_relatives(misbehaviour: Misbehaviour) -> None:
    """Start all kinds except `port`, then create the orphans. Call before any thread starts."""
    for kind in misbehaviour.children:
        if kind not in _COMMANDS:
            raise SystemExit(f"invalid {PREFIX} settings: unknown kind of child {kind!r}")
        if kind != "port":
            _start(kind, misbehaviour.children_ignore)
    for number in range(misbehaviour.orphans):
        _make_orphan(number % 256)


def start_port_holders(misbehaviour: Misbehaviour, sockets: Iterable[int]) -> None:
    """Start those of kind `port`; `sockets` are descriptors of the listening sockets."""
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
    # Left running intentionally; without this the interpreter would warn.
    relative.returncode = 0


@contextmanager
def _ignoring(signals: Iterable[signal.Signals]) -> Iterator[None]:
    """Ignore signals in the context; programs started there inherit this."""
    before = {number: signal.signal(number, signal.SIG_IGN) for number in signals}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _make_orphan(code: int) -> None:
    """Create a process that exits with `code` once its parent has, so a subreaper reaps it."""
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
