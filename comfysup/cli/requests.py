"""Requests to the daemon that are under way at once, each in a thread of its own."""

from collections.abc import Callable
from threading import Event, Thread

from comfysup.cli.output import Instance


class Request:
    """A request about one instance, which runs in a daemon thread from its construction.

    The thread does not outlive the command, so an interrupted command exits at once.
    """

    def __init__(self, ref: str, ask: Callable[[str], Instance]) -> None:
        self.ref = ref
        self._ask = ask
        self._answer: Instance | None = None
        self._error: Exception | None = None
        self._done = Event()
        Thread(target=self._run, daemon=True).start()

    @property
    def done(self) -> bool:
        return self._done.is_set()

    def wait(self, seconds: float | None = None) -> None:
        self._done.wait(seconds)

    def result(self) -> Instance:
        """Return the response once it has arrived. Raises as the client does."""
        self.wait()
        if self._error is not None:
            raise self._error
        assert self._answer is not None  # noqa: S101 - one of both is there
        return self._answer

    def _run(self) -> None:
        try:
            self._answer = self._ask(self.ref)
        except Exception as error:  # noqa: BLE001 - raised again by `result`
            self._error = error
        finally:
            self._done.set()
