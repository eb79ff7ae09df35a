"""What a daemon keeps open while it replaces itself: its lock, its sockets and its callers."""

import os
import sys
from collections.abc import Mapping, Sequence
from typing import NoReturn

VARIABLE = "COMFYSUP_HANDOVER"
"""Names descriptors for the program that this process becomes, as `lock=3 tcp=7 callers=9,11`."""


def received(environ: Mapping[str, str]) -> dict[str, list[int]]:
    """Return what the program before this one kept open, by name; none of it is passed on again."""
    found = {}
    for each in environ.get(VARIABLE, "").split():
        name, _, numbers = each.partition("=")
        found[name] = [int(number) for number in numbers.split(",") if number]
    _let_inherit(found, inherit=False)
    return found


def become_anew(kept: Mapping[str, Sequence[int]]) -> NoReturn:
    """Run this very command again in this process, with those descriptors open."""
    _let_inherit(kept, inherit=True)
    os.environ[VARIABLE] = " ".join(
        f"{name}={','.join(map(str, descriptors))}" for name, descriptors in kept.items()
    )
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606 - the same command


def _let_inherit(kept: Mapping[str, Sequence[int]], *, inherit: bool) -> None:
    for descriptors in kept.values():
        for each in descriptors:
            os.set_inheritable(each, inherit)
