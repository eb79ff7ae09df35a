"""Descriptors that a daemon keeps open across a restart in place: locks, sockets, callers."""

import base64
import json
import os
import re
import sys
from collections.abc import Mapping, MutableMapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import NoReturn, TypeAlias

import structlog

log = structlog.get_logger()

VARIABLE = "COMFYSUP_HANDOVER"
"""`<pid>:<descriptor>`: the addressee, and the memory file that lists the open descriptors.

There can be thousands of callers, more than fit into a variable.
"""

Begun: TypeAlias = tuple[int, bytes]
"""The descriptor of a connection, and the bytes received of its next request."""


@dataclass(frozen=True, slots=True)
class Handover:
    """Open descriptors by name. `last_event` is the id of the last event, or 0 if unknown."""

    descriptors: Mapping[str, Sequence[int]] = field(default_factory=dict)
    callers: Mapping[str, Sequence[Begun]] = field(default_factory=dict)
    last_event: int = 0

    def __bool__(self) -> bool:
        return bool(self.descriptors)


_EARLIER = re.compile(r"lock=\d+(?: (?:tcp|own|tcp_callers|own_callers)=[\d,]*)+")
"""The format of the first version, which lists the descriptors in the variable itself."""


def is_handed_over(environ: Mapping[str, str]) -> bool:
    """Return whether this process was a daemon before it executed this program."""
    variable = environ.get(VARIABLE, "")
    return variable.startswith(f"{os.getpid()}:") or _is_earlier(variable)


def _is_earlier(variable: str) -> bool:
    """Return whether a daemon of the first version executed this program: its lock is inherited."""
    if not _EARLIER.fullmatch(variable):
        return False
    with suppress(OSError):
        return all(map(os.get_inheritable, _named(variable)["lock"]))
    return False


def _named(variable: str) -> dict[str, list[int]]:
    named = (each.partition("=") for each in variable.split())
    return {name: [int(each) for each in text.split(",") if each] for name, _, text in named}


def receive_handover(environ: MutableMapping[str, str]) -> Handover:
    """Return the descriptors that the previous program kept open, closed to child processes.

    Removes the variable from `environ`. Returns an empty handover if the variable is meant for
    another process or cannot be parsed.
    """
    meant = is_handed_over(environ)
    variable = environ.pop(VARIABLE, "")
    if not meant:
        return Handover()
    try:
        handover = _earlier(variable) if _EARLIER.fullmatch(variable) else _read(variable)
        _let_inherit(handover, inherit=False)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        log.error("handover.unreadable", error=repr(error))  # noqa: TRY400 - not a bug
        return Handover()
    return handover


def _read(variable: str) -> Handover:
    with open(int(variable.partition(":")[2]), "rb") as file:  # noqa: PTH123 - a descriptor
        file.seek(0)
        written = json.load(file)
    return Handover(
        written["descriptors"],
        {
            name: [(number, base64.b64decode(begun)) for number, begun in callers]
            for name, callers in written["callers"].items()
        },
        int(written.get("last_event", 0)),  # missing in older programs
    )


def _earlier(variable: str) -> Handover:
    """Return a first version's handover, whose callers have no received bytes."""
    named = _named(variable)
    callers = {
        door: [(number, b"") for number in named.get(f"{door}_callers", ())]
        for door in ("tcp", "own")
    }
    return Handover({name: named[name] for name in ("lock", "tcp", "own")}, callers)


def exec_next_program(handover: Handover) -> NoReturn:
    """Execute this command again in this process with those descriptors open. Raises OSError."""
    listed = {
        "descriptors": handover.descriptors,
        "callers": {
            name: [(number, base64.b64encode(begun).decode()) for number, begun in callers]
            for name, callers in handover.callers.items()
        },
        "last_event": handover.last_event,
    }
    memory = os.memfd_create("comfysup-handover", 0)
    with open(memory, "wb", closefd=False) as file:
        file.write(json.dumps(listed).encode())
    _let_inherit(handover, inherit=True)
    os.environ[VARIABLE] = f"{os.getpid()}:{memory}"
    for stream in (sys.stdout, sys.stderr):
        # The stream may be closed, full, or a vanished terminal; the daemon must survive that.
        with suppress(OSError, ValueError, AttributeError):
            stream.flush()
    os.execv(sys.executable, command())  # noqa: S606 - the same command


def command() -> list[str]:
    """Return the command line of this program."""
    return [sys.executable, *sys.orig_argv[1:]]


def _let_inherit(handover: Handover, *, inherit: bool) -> None:
    """Set whether the descriptors survive exec. Raises OSError if one is not open."""
    for descriptors in handover.descriptors.values():
        for each in descriptors:
            os.set_inheritable(each, inherit)
    for callers in handover.callers.values():
        for number, _ in callers:
            os.set_inheritable(number, inherit)
