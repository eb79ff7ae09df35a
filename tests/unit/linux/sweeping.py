"""Sweeps of the descendants of a process."""

import time

from comfysup.linux.process.sweep import Sweep

NO_LEADER = 2**22 + 1
LONG = 30.0


def finish(sweep: Sweep) -> None:
    """Continue a sweep until it reports that no process is left."""
    give_up = time.monotonic() + LONG
    while not sweep.turn():
        assert time.monotonic() < give_up, sweep.remnants
        time.sleep(0.001)
