"""Signal masks of the daemon, of its threads and of its children."""

import errno
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from typing_extensions import override

ANSWERED: Final = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGHUP})
"""The signals that the daemon handles."""


class NoThreadError(OSError):
    """The kernel refuses another thread to this process."""

    def __init__(self) -> None:
        """Set the text, which names the likely limits."""
        super().__init__(
            errno.EAGAIN,
            "cannot start a thread: the limit of processes (ulimit -u, pids.max of the cgroup) or "
            "of memory (ulimit -v) is reached",
        )

    @override
    def __str__(self) -> str:
        """Return the text without the errno."""
        return str(self.strerror)


def accept_signals() -> None:
    """Reset inherited ignored signals to their default, because children would inherit them.

    execve(2) resets a handled signal to its default but leaves an ignored one ignored (signal(7)).
    Python ignores SIGPIPE and SIGXFSZ itself; `spawn` restores them.
    """
    for number in signal.valid_signals() - {signal.SIGPIPE, signal.SIGXFSZ}:
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)


def block_signals() -> None:
    """Block the daemon's signals in this thread.

    The kernel delivers a signal to any thread that does not block it. All other threads block these
    from their start (`start_thread`), so signals stay pending for the main thread.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, ANSWERED)


def start_thread(target: Callable[[], None], name: str) -> threading.Thread:
    """Start a daemon thread with the daemon's signals blocked from its first instruction.

    A thread inherits its creator's mask. A thread that blocks signals itself can receive one before
    its first line runs, for milliseconds on a busy machine. Raises `NoThreadError`.
    """
    thread = threading.Thread(target=target, name=name, daemon=True)
    try:
        with blocked_signals():
            thread.start()
    except RuntimeError as error:
        raise NoThreadError from error
    return thread


@contextmanager
def blocked_signals() -> Iterator[None]:
    """Block the daemon's signals in the context, for a thread that is started there."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ANSWERED)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def unblock_signals() -> None:
    """Unblock all signals in this thread, and so in the children that it starts."""
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


@contextmanager
def unblocked_signals() -> Iterator[None]:
    """Unblock all signals in the context. A child inherits the mask."""
    before = signal.pthread_sigmask(signal.SIG_SETMASK, ())
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
