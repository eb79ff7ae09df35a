"""The file descriptors of this process: how many it may have, and how many are left.

A daemon without descriptors accepts no caller, not even one who asks it to stop an instance. So
launches leave `RESERVE` of them.
"""

import os
import resource
from typing import Final

from comfysup.linux.process.pidfd import is_exhaustion

RESERVE: Final = 24
"""Descriptors that a launch leaves for callers, probes, the state file and stops."""

LAUNCH: Final = 8
"""Descriptors that a launch and the first probes of its process take, at most."""


def raise_limit() -> None:
    """Set the soft limit of descriptors to the hard limit."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def limit() -> int:
    """Return how many descriptors this process may have (`ulimit -n`)."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def shortage(launches: int) -> str | None:
    """Return why so many launches at once would leave too few descriptors; None when they fit."""
    try:
        used = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - a number is all
    except OSError as error:
        if not is_exhaustion(error):
            raise
        used = limit()
    if used + launches * LAUNCH + RESERVE <= limit():
        return None
    return (
        f"Too many open files: comfysup uses {used} of its {limit()} descriptors, and a launch "
        f"needs {LAUNCH} and leaves {RESERVE}"
    )
