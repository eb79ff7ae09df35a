"""The daemon's own log: for people on a terminal, JSON lines everywhere else.

A line leaves the process at once, and never makes the daemon wait.
"""

import logging
import os
import select
from collections.abc import MutableMapping
from contextlib import suppress
from typing import Any, TextIO, cast

import structlog

from comfysup.model.printable import printable_values

STDERR = 2


PATIENCE_MS = 100
"""Milliseconds to wait for a slow reader, once until it has caught up."""

AT_ONCE = select.PIPE_BUF
"""Bytes that a pipe accepts without blocking when it is writable (poll(2), pipe(7))."""


class LogStream:
    """Writes log lines to stderr and drops lines that stderr does not accept.

    Lines are lost on a full disk, on a closed pipe or with a stopped reader; their number is logged
    when writing works again. Blocking or raising instead would affect instances.
    """

    def __init__(self) -> None:
        self._lost = 0
        self._line = ""
        self._door = select.poll()
        self._door.register(STDERR, select.POLLOUT)

    def write(self, text: str) -> int:
        self._line += text
        if not self._line.endswith("\n"):  # print() writes the end of a line by itself
            return len(text)
        rest, self._line = self._line.encode(errors="replace"), ""
        if self._lost and self._takes_any(0):
            rest = (
                b'\n{"event": "log.lost", "level": "warning", "writes": %d}\n' % self._lost + rest
            )
            self._lost = 0
        with suppress(OSError):
            while rest and self._takes_any(0 if self._lost else PATIENCE_MS):
                rest = rest[os.write(STDERR, rest[:AT_ONCE]) :]
        self._lost += bool(rest)
        return len(text)

    def _takes_any(self, patience: int) -> bool:
        return any(event & select.POLLOUT for _, event in self._door.poll(patience))

    def flush(self) -> None:
        """Do nothing: nothing is kept."""

    def isatty(self) -> bool:
        return os.isatty(STDERR)


NO_LOCALS = structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
"""Traceback format without local variables, which may contain secrets."""


def _made_printable(
    _logger: object, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """Escape control characters: names and messages may be untrusted."""
    for name, value in event.items():
        if isinstance(value, str | list | dict):
            event[name] = printable_values(value)
    return event


def configure_logging(stream: LogStream) -> None:
    """Send every structlog event to `stream`; warnings of other libraries go the same way."""
    for_people: list[structlog.typing.Processor] = [
        _made_printable,
        structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback),
    ]
    for_programs: list[structlog.typing.Processor] = [
        structlog.processors.ExceptionRenderer(NO_LOCALS),
        structlog.processors.JSONRenderer(),
    ]
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *(for_people if stream.isatty() else for_programs),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(cast("TextIO", stream)),
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(stream=stream, level=logging.WARNING, format="%(message)s")
