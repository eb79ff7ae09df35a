"""Address space limits, and how the daemon stays within them."""

import ctypes
import resource
from contextlib import suppress
from typing import Final

NEEDED: Final = {
    resource.RLIMIT_AS: (1 << 30, "ulimit -v", "address space"),
    resource.RLIMIT_DATA: (1 << 29, "ulimit -d", "data"),
}
"""Per limit: the bytes needed to start some dozens of threads, its shell command, its name."""

M_ARENA_MAX: Final = -8
"""Parameter of mallopt(3): the maximum number of arenas."""

ARENAS: Final = 2
"""Each arena reserves 64 MB of address space. Threads that mostly wait need no more than two."""


def save_address_space() -> None:
    """Limit the number of malloc arenas. Does nothing if the C library is not glibc."""
    with suppress(AttributeError, OSError):
        ctypes.CDLL(None).mallopt(M_ARENA_MAX, ARENAS)


def lacking() -> list[str]:
    """Return a sentence for each resource limit of this process that is too low for the daemon.

    Below such a limit a new thread can die at its start, and Python waits for it forever.
    """
    return [
        f"the limit of {what} is {soft >> 20} MB ({command}); comfysup needs at least "
        f"{needed >> 20} MB, ComfyUI much more: raise it, or limit the memory of the container "
        "instead"
        for limit, (needed, command, what) in NEEDED.items()
        if 0 <= (soft := resource.getrlimit(limit)[0]) < needed
    ]
