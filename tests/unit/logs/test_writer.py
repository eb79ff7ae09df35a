import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from comfysup.logs import writer as log_writer
from comfysup.logs.files import LINE_BYTES, LogFiles, Rotation
from comfysup.logs.writer import LogWriter, PipePeeker

MANY = 100


class Log:
    """A writer whose pipe the test moves."""

    def __init__(self, path: Path, max_bytes: int, keep: int = MANY) -> None:
        self.path = path
        self.files = LogFiles(path)
        self._peeker = PipePeeker()
        self.writer = LogWriter(self.files, Rotation(max_bytes, keep), self._peeker)
        self._reader, self._end = os.pipe2(os.O_NONBLOCK)

    def write(self, data: bytes) -> None:
        """Write as a process does, and move the data."""
        for begin in range(0, len(data), 65536):
            os.write(self._end, data[begin : begin + 65536])
            self.move()

    def move(self) -> None:
        try:
            while self.writer.move(self._reader):
                pass
        except BlockingIOError:
            return

    def rotated(self) -> list[int]:
        """Return the numbers of the files, the newest first."""
        return [n for n in range(MANY + 20) if self.files.numbered(n).exists()]

    def contents(self) -> list[bytes]:
        """Return the content of the files, the oldest first."""
        return [self.files.numbered(n).read_bytes() for n in reversed(self.rotated())]

    def close(self) -> None:
        self.writer.close()
        self._peeker.close()
        os.close(self._reader)
        os.close(self._end)


MakeLog = Callable[..., Log]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[MakeLog]:
    made = []

    def make_one(max_bytes: int = 1_600, keep: int = MANY, path: Path = tmp_path / "log") -> Log:
        made.append(Log(path, max_bytes, keep))
        return made[-1]

    yield make_one
    for log in made:
        log.close()


def lines(count: int, width: int = 50) -> bytes:
    return b"".join(b"%0*d\n" % (width - 1, number) for number in range(count))


# ---- rotation


def test_a_full_file_is_rotated_at_a_line_end(make: MakeLog) -> None:
    log = make(max_bytes=1_600)  # from 1,500 on, that is

    log.write(lines(70))

    assert [len(content) for content in log.contents()] == [1500 + 50, 1500 + 50, 400]
    assert b"".join(log.contents()) == lines(70)


@given(
    sizes=st.lists(st.integers(0, 400), max_size=60),
    max_bytes=st.integers(1, 4_000),
    cuts=st.lists(st.integers(0, 10_000), max_size=8),
)
def test_every_byte_of_any_output_is_kept_and_no_line_is_cut(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int], max_bytes: int, cuts: list[int]
) -> None:
    data = b"".join(b"x" * size + b"\n" for size in sizes)
    log = Log(tmp_path_factory.mktemp("log") / "log", max_bytes)
    ends = [*sorted(cuts), len(data)]

    for begin, end in zip([0, *ends], ends, strict=False):
        log.write(data[begin:end])
    contents = log.contents()
    log.close()

    assert b"".join(contents) == data
    assert all(content.endswith(b"\n") for content in contents if content)
    room = max_bytes - max_bytes // 16
    assert all(len(content) <= room + max(sizes, default=0) + 1 for content in contents)


def test_lines_that_fit_into_the_last_sixteenth_never_make_a_file_too_large(make: MakeLog) -> None:
    log = make(max_bytes=16_000)

    log.write(lines(2_000, width=1_000)[:160_000])

    assert max(map(len, log.contents())) <= 16_000


def test_a_line_over_64_kb_is_cut(make: MakeLog) -> None:
    log = make(max_bytes=1_600)

    log.write(b"x" * (3 * LINE_BYTES) + b"\nnext\n")

    assert b"".join(log.contents()) == b"x" * (3 * LINE_BYTES) + b"\nnext\n"
    assert [len(content) for content in log.contents()[:2]] == [1_500 + LINE_BYTES] * 2


def test_an_unfinished_line_is_written_immediately_near_the_size_limit(
    make: MakeLog,
) -> None:
    log = make(max_bytes=1_600)

    log.write(lines(30) + b"\r 10%")
    shown = log.contents()
    log.write(b"\r100%\nnext\n")

    assert [lines(30) + b"\r 10%"] == shown
    assert [lines(30) + b"\r 10%\r100%\n", b"next\n"] == log.contents()


def test_the_given_number_of_old_files_is_kept(make: MakeLog) -> None:
    log = make(max_bytes=160, keep=3)

    log.write(lines(20, width=100))

    assert log.rotated() == [0, 1, 2, 3]
    assert b"".join(log.contents()) == lines(20, width=100)[-600:]


def test_keeping_no_old_files_is_possible(make: MakeLog) -> None:
    log = make(max_bytes=160, keep=0)

    log.write(lines(3, width=100))

    assert log.contents() == [lines(3, width=100)[200:]]


def test_files_beyond_a_lowered_limit_are_removed(make: MakeLog) -> None:
    make(max_bytes=160, keep=9).write(lines(20, width=100))
    fewer = make(max_bytes=160, keep=2)

    fewer.write(lines(2, width=100))

    assert fewer.rotated() == [0, 1, 2]


def test_an_interrupted_rotation_continues_at_the_gap(make: MakeLog) -> None:
    log = make(max_bytes=160, keep=4)
    log.write(lines(8, width=100))
    before = log.contents()
    # The oldest is dropped and the next has its number, as when it was killed then.
    log.files.numbered(3).rename(log.files.numbered(4))

    log.write(lines(2, width=100))

    assert log.rotated() == [0, 1, 2, 3, 4]
    assert [*before[1:4], lines(2, width=100), b""] == log.contents()


def test_a_file_missing_after_a_kill_is_created(make: MakeLog) -> None:
    log = make(max_bytes=160)
    log.write(lines(2, width=100))
    log.writer.close()
    log.path.unlink()

    again = make(max_bytes=160)
    again.write(b"next\n")

    assert again.contents() == [lines(2, width=100), b"next\n"]


def test_a_file_that_cannot_be_renamed_keeps_growing(
    make: MakeLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, "not here")

    monkeypatch.setattr(LogFiles, "rotate", refuse)
    log = make(max_bytes=1_600)

    with capture_logs() as logged:
        log.write(lines(60))

    assert log.contents() == [lines(60)]
    assert [each["event"] for each in logged] == ["log.not_rotated"]


# ---- other people's hands


def test_a_truncated_log_continues_at_its_new_end(make: MakeLog) -> None:
    log = make()
    log.write(b"before\n")

    os.truncate(log.path, 0)
    log.write(b"after\n")

    assert log.contents() == [b"after\n"]


def test_a_removed_log_is_created_again(make: MakeLog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_writer, "CHECK_EVERY", 0.0)
    log = make()
    log.write(b"before\n")

    log.path.unlink()
    log.write(b"after\n")

    assert log.contents() == [b"after\n"]


# ---- a full disk


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 kB."""
    directory = tmp_path / "disk"
    directory.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=64k", "comfysup-test", str(directory)]
    if subprocess.run(command, check=False, capture_output=True).returncode != 0:
        pytest.skip("only root can mount a small disk")
    yield directory
    subprocess.run(["umount", "--lazy", str(directory)], check=True)


def test_a_full_disk_receives_the_bytes_that_fit_and_the_rest_is_counted_once(
    make: MakeLog, small_disk: Path
) -> None:
    log = make(max_bytes=1 << 20, path=small_disk / "log")
    ballast = small_disk / "ballast"
    ballast.write_bytes(b"x" * 40_960)

    with capture_logs() as logged:
        log.write(lines(2_000))
        kept = log.contents()[0]
        ballast.unlink()
        log.write(b"after\n")

    dropped = 100_000 - len(kept)
    note = b"[comfysup: %d bytes of log were dropped here]\n" % dropped
    assert kept == lines(2_000)[: len(kept)]
    assert 0 < dropped == log.writer.dropped_bytes
    assert log.contents()[0].removeprefix(kept).lstrip(b"\n") == note + b"after\n"
    assert [each["event"] for each in logged] == ["log.refused", "log.resumed"]
