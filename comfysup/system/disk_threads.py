"""A few threads for what may wait for a disk, so that the event loop never does."""

import asyncio
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, TypeVar

from comfysup.system.errand import Errand
from comfysup.system.signals import block_signals

T = TypeVar("T")

THREADS = 4


class DiskThreads:
    """A fixed number of threads; a disk that stalls holds up them and whoever waits for them.

    asyncio's own would be waited for at the end of the process, however long the disk takes.
    """

    def __init__(self) -> None:
        """Start them."""
        self._errands: SimpleQueue[Errand[Any] | None] = SimpleQueue()
        for number in range(THREADS):
            threading.Thread(target=self._run, name=f"disk-{number}", daemon=True).start()

    def ask(self, work: Callable[[], T]) -> asyncio.Future[T]:
        """Have something done; it is done also when nobody waits for it any more."""
        errand = Errand(work)
        self._errands.put(errand)
        return errand.result

    def do(self, work: Callable[[], None]) -> None:
        """Have something done that nobody waits for."""
        self._errands.put(Errand(work))

    def close(self) -> None:
        """Let the threads end when what was asked is done."""
        for _ in range(THREADS):
            self._errands.put(None)

    def _run(self) -> None:
        block_signals()
        while errand := self._errands.get():
            errand.run()
