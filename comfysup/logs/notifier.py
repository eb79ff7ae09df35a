"""Notifies readers of logs about new output, from the thread that has written it."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


class Notifier:
    """One event per reader of a log; logs without readers cost nothing."""

    def __init__(self) -> None:
        """Start without readers, in the event loop of the readers."""
        self._loop = asyncio.get_running_loop()
        self._events: dict[Path, set[asyncio.Event]] = {}
        self._pending: set[Path] = set()

    @contextmanager
    def listen(self, log_file: Path) -> Iterator[asyncio.Event]:
        """Yield an event that is set whenever the log has grown."""
        event = asyncio.Event()
        self._events.setdefault(log_file, set()).add(event)
        try:
            yield event
        finally:
            self._events[log_file].discard(event)
            if not self._events[log_file]:
                del self._events[log_file]

    def notify(self, log_file: Path) -> None:
        """Notify the readers, from any thread; a pending notification is not repeated."""
        if log_file in self._events and log_file not in self._pending:
            self._pending.add(log_file)
            with suppress(RuntimeError):  # the loop has ended
                self._loop.call_soon_threadsafe(self._set, log_file)

    def notify_all(self) -> None:
        """Wake every reader; called in the event loop."""
        for log_file in self._events:
            self._set(log_file)

    def _set(self, log_file: Path) -> None:
        self._pending.discard(log_file)
        for event in self._events.get(log_file, ()):
            event.set()
