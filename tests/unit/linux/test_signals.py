"""The signals that threads of the daemon block."""

import signal
from queue import SimpleQueue

from comfysup.linux.process.signals import ANSWERED, start_thread


def test_a_thread_blocks_the_signals_of_the_daemon_from_its_first_moment() -> None:
    masks: SimpleQueue[set[int]] = SimpleQueue()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())

    start_thread(lambda: masks.put(signal.pthread_sigmask(signal.SIG_BLOCK, ())), "test").join()

    assert ANSWERED <= masks.get()
    assert before == signal.pthread_sigmask(signal.SIG_BLOCK, ())
