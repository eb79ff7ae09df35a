"""SIGKILL of the daemon at any instruction: every byte of a log is there once, in order."""

import fcntl
import os
import random
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

MAX_BYTES = 16_384
KEEP = 120
LINES = 20_000
ENOUGH = 6
"""Kills in a test: that many are waited for, however slow the machine is."""

WRITER = """
import os, sys
fifo, lines, pause, asks = sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), sys.argv[4]
import time
end = os.open(fifo, os.O_RDWR)
for number in range(lines):
    os.write(end, b"%07d %s\\n" % (number, b"x" * (number * 7919 % 97)))
    if number == lines // 2 and asks:
        sys.stdin.read(1)  # whether there have been enough kills
    if number % 100 == 0:
        time.sleep(pause)
"""
EXPECTED = b"".join(b"%07d %s\n" % (number, b"x" * (number * 7919 % 97)) for number in range(LINES))


class Torture:
    """A FIFO with a continuous writer, and pumps that are killed."""

    def __init__(self, directory: Path) -> None:
        self.fifo = directory / "fifo"
        self.log = directory / "logs" / "x.log"
        os.mkfifo(self.fifo)
        # As an instance does, so that what waits outlives the pump.
        self._holder = os.open(self.fifo, os.O_RDWR)

    def waiting(self) -> int:
        """Return the number of unmoved bytes."""
        answer = fcntl.ioctl(self._holder, termios.FIONREAD, b"\0" * 4)
        return int(struct.unpack("i", answer)[0])

    @contextmanager
    def writer(self, seconds: float, *, asks: bool = False) -> Iterator[subprocess.Popen[bytes]]:
        """A process that writes all lines in about that time, and `asks` for a byte half-way."""
        pause = 100 * seconds / LINES
        given = (self.fifo, str(LINES), str(pause), "asks" if asks else "")
        with subprocess.Popen(
            [sys.executable, "-S", "-c", WRITER, *given], stdin=subprocess.PIPE, bufsize=0
        ) as process:
            yield process

    @contextmanager
    def pump(self, line: int = 0) -> Iterator[subprocess.Popen[bytes]]:
        """A pump that is killed at the end, or kills itself at a line of its code."""
        arguments = (self.fifo, self.log, str(MAX_BYTES), str(KEEP), str(line))
        with subprocess.Popen(
            [sys.executable, "-m", "tests.unit.logs.pumping", *arguments], stdout=subprocess.PIPE
        ) as process:
            assert process.stdout is not None
            process.stdout.readline()  # that it has begun, or nothing where it is dead by then
            try:
                yield process
            finally:
                process.kill()

    def moved(self) -> int:
        """Return a value that changes when a pump works."""
        try:
            return self.log.stat().st_mtime_ns
        except FileNotFoundError:
            return 0

    def finish(self) -> None:
        with self.pump():
            while self.waiting():
                time.sleep(0.001)

    def files(self) -> list[bytes]:
        """Return the content of the log files, the oldest first."""
        rotated = list(self.log.parent.glob("x.log.[0-9]*"))
        rotated.sort(key=lambda path: int(path.suffix[1:]), reverse=True)
        return [path.read_bytes() for path in (*rotated, self.log)]

    def close(self) -> None:
        os.close(self._holder)


@pytest.fixture
def torture(tmp_path: Path) -> Iterator[Torture]:
    one = Torture(tmp_path)
    yield one
    one.close()


def check(files: list[bytes]) -> None:
    assert b"".join(files) == EXPECTED
    assert len(files) > len(EXPECTED) / MAX_BYTES
    assert all(len(content) <= MAX_BYTES for content in files)
    assert all(content.endswith(b"\n") for content in files if content)


@pytest.mark.parametrize("seed", range(3))
def test_a_pump_killed_at_any_line_of_its_code_loses_and_doubles_nothing(
    torture: Torture, seed: int
) -> None:
    """Between two lines are system calls, which a kill does not interrupt."""
    chance = random.Random(seed)
    kills = 0
    with torture.writer(seconds=2, asks=True) as writer:
        assert writer.stdin is not None
        while writer.poll() is None:
            with torture.pump(line=int(10 ** chance.uniform(0.5, 4))) as pump:
                # Where the writer waits for more kills, one that idles must come to its line too.
                idle_until = time.monotonic() + 1
                while pump.poll() is None and (torture.waiting() or time.monotonic() < idle_until):
                    time.sleep(0.001)
                kills += pump.poll() is not None
            if kills == ENOUGH:
                writer.stdin.close()
    torture.finish()

    check(torture.files())
    assert kills >= ENOUGH


def test_a_pump_killed_at_any_time_loses_and_doubles_nothing(torture: Torture) -> None:
    chance = random.Random(4)
    with torture.writer(seconds=6) as writer:
        while writer.poll() is None:
            with torture.pump():
                before = torture.moved()
                give_up = time.monotonic() + 2
                # Until it works; from then on the moment is chance.
                while time.monotonic() < give_up and torture.moved() == before:
                    time.sleep(0.001)
                time.sleep(chance.uniform(0, 0.05))
    torture.finish()

    check(torture.files())
