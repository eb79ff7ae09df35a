"""A wall clock that a test can let jump, for one process and without touching the machine's.

Python imports this before all else where this directory is on PYTHONPATH. `CLOCK_OFFSET_FILE`
names a file with seconds, which are added to whatever asks for the time of day. The monotonic
clock stays the kernel's own, as it does when somebody sets the time of day.
"""

import datetime as dt
import os
import time
from pathlib import Path
from typing import Self

_offset_file = Path(os.environ["CLOCK_OFFSET_FILE"])
_clock_gettime = time.clock_gettime
_gmtime, _localtime = time.gmtime, time.localtime
_datetime = dt.datetime


def _now() -> float:
    return _clock_gettime(time.CLOCK_REALTIME) + float(_offset_file.read_text())


class _Datetime(_datetime):
    """The process reads the time of day from this module."""

    @classmethod
    def now(cls, tz: dt.tzinfo | None = None) -> Self:  # type: ignore[explicit-override]
        return cls.fromtimestamp(_now(), tz)

    @classmethod
    def utcnow(cls) -> Self:  # type: ignore[explicit-override]
        return cls.fromtimestamp(_now(), dt.UTC).replace(tzinfo=None)


time.time = _now
time.time_ns = lambda: int(_now() * 1e9)
time.clock_gettime = lambda clock: _now() if clock == time.CLOCK_REALTIME else _clock_gettime(clock)
time.gmtime = lambda seconds=None: _gmtime(_now() if seconds is None else seconds)
time.localtime = lambda seconds=None: _localtime(_now() if seconds is None else seconds)
dt.datetime = _Datetime  # type: ignore[misc]
