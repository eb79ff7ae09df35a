"""Work that one of our threads does for the event loop."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Generic, TypeVar

T = TypeVar("T")


class Errand(Generic[T]):
    """Something to be done elsewhere, and the future through which the result comes back.

    It is done also when nobody waits for it any more.
    """

    def __init__(self, work: Callable[[], T]) -> None:
        """Begin it in the loop; whoever carries it out calls `run` in another thread."""
        self._work = work
        self._loop = asyncio.get_running_loop()
        self.result: asyncio.Future[T] = self._loop.create_future()

    def run(self) -> None:
        try:
            result = self._work()
        except Exception as error:  # noqa: BLE001 - whoever asked gets it
            self._tell(partial(self._fail, error))
        else:
            self._tell(partial(self._finish, result))

    def _tell(self, settle: Callable[[], None]) -> None:
        with suppress(RuntimeError):  # the loop has ended, and with it whoever asked
            self._loop.call_soon_threadsafe(settle)

    def _finish(self, result: T) -> None:
        if not self.result.done():
            self.result.set_result(result)

    def _fail(self, error: Exception) -> None:
        if not self.result.done():
            self.result.set_exception(error)
