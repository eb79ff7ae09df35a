"""Telling readers of logs that there is more, from the thread that has written it."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


class Notifier:
    """One event for each reader of a log; nothing is done for logs that nobody reads."""

    def __init__(self) -> None:
        """Begin without a reader, in the loop that the readers will run in."""
        self._loop = asyncio.get_running_loop()
        self._events: dict[Path, set[asyncio.Event]] = {}
        self._rung: set[Path] = set()

    @contextmanager
    def listen(self, log_file: Path) -> Iterator[asyncio.Event]:
        """Give an event meanwhile that is set whenever that log has got more."""
        event = asyncio.Event()
        self._events.setdefault(log_file, set()).add(event)
        try:
            yield event
        finally:
            self._events[log_file].discard(event)
            if not self._events[log_file]:
                del self._events[log_file]

    def ring(self, log_file: Path) -> None:
        """Say, in any thread, that it has got more; a call that is under way is enough."""
        if log_file in self._events and log_file not in self._rung:
            self._rung.add(log_file)
            with suppress(RuntimeError):  # the loop has ended
                self._loop.call_soon_threadsafe(self._set, log_file)

    def ring_all(self) -> None:
        """Wake every reader, in the loop."""
        for log_file in self._events:
            self._set(log_file)

    def _set(self, log_file: Path) -> None:
        self._rung.discard(log_file)
        for event in self._events.get(log_file, ()):
            event.set()
