import ctypes
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress

import pytest

from comfysup.linux.process import handle
from comfysup.linux.process.proc import children_of
from comfysup.linux.process.reaper import PR_SET_CHILD_SUBREAPER, Reaper
from tests.unit.linux.children import SWEEPS, end


@pytest.fixture(autouse=True)
def _end_threads() -> Iterator[None]:
    """Ends the threads of `sweeps` after each test."""
    yield
    while SWEEPS:
        SWEEPS.pop().shutdown()


@pytest.fixture
async def reaper() -> AsyncIterator[Reaper]:
    """A reaper that makes this process the subreaper for one test."""
    started = Reaper()
    started.start()
    yield started
    started.close()
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)
    for pid in children_of(os.getpid()):
        with suppress(OSError):
            end(pid)


@pytest.fixture(params=[None, "Function not implemented"], ids=["pidfd", "polled"])
def refusal(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str | None:
    """Why the kernel refuses pidfds, None where it has them: each test runs both ways."""
    reason: str | None = request.param
    monkeypatch.setattr(handle, "refusal_of_pidfds", lambda: reason)
    return reason
