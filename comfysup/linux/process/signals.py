"""Which signals reach the daemon, which wait, and which children are started with."""

import errno
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from typing_extensions import override

ANSWERED: Final = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGHUP})
"""Those by which the daemon is told what to do."""


class NoThreadError(OSError):
    """The kernel makes no more threads for this process."""

    def __init__(self) -> None:
        """Say what may be the reason."""
        super().__init__(
            errno.EAGAIN,
            "cannot start a thread: the limit of processes (ulimit -u, pids.max of the cgroup) or "
            "of memory (ulimit -v) is reached",
        )

    @override
    def __str__(self) -> str:
        """Return the sentence without the number of the error."""
        return str(self.strerror)


def accept_signals() -> None:
    """Undo what this process was started with: ignored signals pass on to children.

    A handled signal becomes the default one at exec; an ignored one stays ignored (signal(7)).
    SIGPIPE and SIGXFSZ are ignored by Python itself, and restored by `spawn`.
    """
    for number in signal.valid_signals() - {signal.SIGPIPE, signal.SIGXFSZ}:
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)


def block_signals() -> None:
    """Let the signals that the daemon answers wait, as far as this thread goes.

    The kernel gives a signal to any thread that does not block it, so that every thread but the
    main one does (`start_thread`): what that one lets wait is not lost to another.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, ANSWERED)


def start_thread(target: Callable[[], None], name: str) -> threading.Thread:
    """Start a daemon thread that blocks the signals that the daemon answers from its first moment.

    A thread inherits the mask of the one that starts it. One that blocks them itself can still
    receive a signal before its first line runs, for milliseconds on a busy machine.
    Raises `NoThreadError`.
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
    """Block the signals that the daemon answers meanwhile, for a thread that is started here."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ANSWERED)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def unblock_signals() -> None:
    """Let every signal come through to this thread, and so to the children that it starts."""
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


@contextmanager
def unblocked_signals() -> Iterator[None]:
    """Let every signal come through to this thread meanwhile: a child inherits what is blocked."""
    before = signal.pthread_sigmask(signal.SIG_SETMASK, ())
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
