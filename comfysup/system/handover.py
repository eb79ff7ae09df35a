"""What a daemon keeps open while it replaces itself: its listening sockets, and its lock."""

import os
import sys
from collections.abc import Mapping
from typing import NoReturn

VARIABLE = "COMFYSUP_HANDOVER"
"""Names descriptors for the program that this process becomes, as `tcp=7,own=8,lock=3`."""


def received(environ: Mapping[str, str]) -> dict[str, int]:
    """Return what the program before this one kept open, by name; none of it is passed on again."""
    given = environ.get(VARIABLE, "")
    found = {}
    for each in filter(None, given.split(",")):
        name, _, number = each.partition("=")
        descriptor = int(number)
        os.set_inheritable(descriptor, False)  # noqa: FBT003 - its only form
        found[name] = descriptor
    return found


def keep(descriptor: int) -> int:
    """Return a second descriptor of the same thing, which stays open when the first is closed."""
    return os.dup(descriptor)


def become_anew(kept: Mapping[str, int]) -> NoReturn:
    """Run this very command again in this process, with those descriptors open."""
    for descriptor in kept.values():
        os.set_inheritable(descriptor, True)  # noqa: FBT003 - its only form
    os.environ[VARIABLE] = ",".join(f"{name}={number}" for name, number in kept.items())
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606 - the same command
