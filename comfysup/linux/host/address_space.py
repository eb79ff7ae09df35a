"""The address space that the daemon needs, and that it takes."""

import ctypes
import resource
from contextlib import suppress
from typing import Final

NEEDED: Final = {
    resource.RLIMIT_AS: (1 << 30, "ulimit -v", "address space"),
    resource.RLIMIT_DATA: (1 << 29, "ulimit -d", "data"),
}
"""For each limit: the bytes that let some dozens of threads begin, the shell's name, and what."""

M_ARENA_MAX: Final = -8
"""Argument of mallopt(3): how many pools of memory the threads share."""

ARENAS: Final = 2
"""Each takes 64 MB of address space at once; a daemon whose threads wait needs no more."""


def save_address_space() -> None:
    """Let the threads of this process share few pools; a C library other than glibc has none."""
    with suppress(AttributeError, OSError):
        ctypes.CDLL(None).mallopt(M_ARENA_MAX, ARENAS)


def lacking() -> list[str]:
    """Return a sentence for each limit of this process that is too low for a daemon.

    Below it a thread may be lost at its beginning, and Python waits for that for ever.
    """
    return [
        f"the limit of {what} is {soft >> 20} MB ({command}); comfysup needs at least "
        f"{needed >> 20} MB, ComfyUI much more: raise it, or limit the memory of the container "
        "instead"
        for limit, (needed, command, what) in NEEDED.items()
        if 0 <= (soft := resource.getrlimit(limit)[0]) < needed
    ]
