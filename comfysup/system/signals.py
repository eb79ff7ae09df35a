"""Which signals reach the daemon, which wait, and which children are started with."""

import signal
from typing import Final

ANSWERED: Final = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGHUP})
"""Those by which the daemon is told what to do."""


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
    main one does: what that one lets wait is not lost to another.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, ANSWERED)


def unblock_signals() -> None:
    """Let every signal come through to this thread, and so to the children that it starts."""
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
