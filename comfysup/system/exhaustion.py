"""When this process or the machine has no descriptor or memory left: that passes.

It says nothing of the processes that were to be looked at, so whoever looks does so again later.
"""

import errno

LOOK_AGAIN_AFTER = 0.2
"""Seconds."""

_EXHAUSTED = {errno.EMFILE, errno.ENFILE, errno.ENOMEM}


def is_exhaustion(error: OSError) -> bool:
    """Whether the same may work later without anybody having mended anything."""
    return error.errno in _EXHAUSTED
