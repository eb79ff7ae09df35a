"""Requests that take their time: each in a thread, and on a terminal shown meanwhile."""

from collections.abc import Callable, Sequence
from threading import Thread

from comfysup.cli.client import ApiError, NotReachableError
from comfysup.cli.printing import Instance, on_terminal


class Request:
    """Something asked of the daemon about one instance, under way since this was made.

    The thread does not outlive the command: who is tired of waiting just leaves.
    """

    def __init__(self, ref: str, ask: Callable[[str], Instance]) -> None:
        self.ref = ref
        self._ask = ask
        self._answer: Instance | None = None
        self._error: ApiError | NotReachableError | None = None
        self._thread = Thread(target=self._run, daemon=True)
        self._thread.start()

    @property
    def done(self) -> bool:
        return not self._thread.is_alive()

    def wait(self, seconds: float | None = None) -> None:
        self._thread.join(seconds)

    def result(self) -> Instance:
        """Return the answer when it is there; raises as the client does."""
        self.wait()
        if self._error is not None:
            raise self._error
        assert self._answer is not None  # noqa: S101 - one of both is there
        return self._answer

    def _run(self) -> None:
        try:
            self._answer = self._ask(self.ref)
        except (ApiError, NotReachableError) as error:
            self._error = error


def wait_for(requests: Sequence[Request], *, quiet: bool = False) -> None:
    """Wait until all are answered; on a terminal with a live line for each, unless `quiet`."""
    if on_terminal() and not quiet:
        from comfysup.cli.progress import show_progress

        show_progress(requests)
    for request in requests:
        request.wait()
