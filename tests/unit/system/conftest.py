import asyncio
import ctypes
import os
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest

from comfysup.system.proc import children_of
from comfysup.system.reaper import PR_SET_CHILD_SUBREAPER, Reaper
from tests.unit.system.children import end


@pytest.fixture
async def reaper() -> AsyncIterator[Reaper]:
    """A reaper that has made this very process the parent of all orphans, for one test."""
    started = Reaper()
    started.start()
    yield started
    asyncio.get_running_loop().remove_signal_handler(17)
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)
    for pid in children_of(os.getpid()):
        with suppress(OSError):
            end(pid)
