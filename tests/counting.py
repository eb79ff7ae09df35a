"""The work of a call, counted in function calls: independent of the load of the machine."""

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any


def calls_of(work: Callable[[], object]) -> int:
    """Run a function, and return the number of function calls, including those in C."""
    calls = 0

    def count(_frame: FrameType, event: str, _argument: Any) -> None:  # noqa: ANN401 - sys' own
        nonlocal calls
        calls += event in {"call", "c_call"}

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        work()
    finally:
        sys.setprofile(before)
    return calls
