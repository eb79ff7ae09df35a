"""The lines of one process in a log with output of several."""

import os
from pathlib import Path

import pytest

from comfysup.logs import tail as log_tail
from comfysup.logs.resume_token import ResumeToken, StreamOffsets
from comfysup.logs.tail import HEAD_BYTES, TAIL_BYTES

HEADING = b"=== 2026-11-26T01:00:00Z comfysup: 0 'main' starts, generation 3\n"
LEDGER = StreamOffsets()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "instance.log"


def place_in(file: Path, offset: int, position: int = 0) -> ResumeToken:
    """Return a position in a file, as the current daemon stores it."""
    end = os.open(file, os.O_RDONLY)
    try:
        return ResumeToken.at(end, offset, LEDGER.life, position - offset)
    finally:
        os.close(end)


def begin(file: Path, earlier: bytes = b"") -> ResumeToken:
    """Start a process in a log with earlier output."""
    file.write_bytes(earlier)
    LEDGER.add(file.stat().st_ino, 0)
    return place_in(file, len(earlier), len(earlier))


def append(file: Path, content: bytes) -> None:
    with file.open("ab") as end:
        end.write(content)


def read_tail(
    file: Path,
    lines: int,
    since: ResumeToken | None,
    lost: bytes = b"",
    offsets: StreamOffsets = LEDGER,
) -> list[str]:
    return log_tail.read_tail(file, lines, since=since, offsets=offsets, lost=lost)


@pytest.mark.parametrize(
    ("content", "lines"),
    [
        (b"", []),
        (b"\n", [""]),
        (b"one\ntwo\nthree\n", ["two", "three"]),
        (b"one\ntwo\nno end", ["two", "no end"]),
        (b"one\n\n\n", ["", ""]),
        (b"\xff\xfe\xc3\xa9\n", ["��é"]),
        (b"\x00nul\x00\n", ["nul"]),
        (b"\r 0%\r 50%\r100%\n", ["100%"]),
        (b"windows\r\n", ["windows"]),
        (b"\x1b[31mred\x1b[0m \x1b]0;title\x07text\n", ["red text"]),
    ],
)
def test_the_last_lines_are_text(file: Path, content: bytes, lines: list[str]) -> None:
    since = begin(file)
    append(file, content)

    assert lines == read_tail(file, 2, since)


def test_output_of_an_earlier_process_and_the_heading_are_left_out(file: Path) -> None:
    since = begin(file, HEADING + b"ModuleNotFoundError: No module named 'old'\n")
    append(file, HEADING + b"new\n")

    assert read_tail(file, 5, since) == ["new"]
    assert log_tail.read_head(file, since=since, offsets=LEDGER) == ["new"]


@pytest.mark.parametrize("content", [b"", HEADING])
def test_a_process_that_wrote_nothing_has_no_lines(file: Path, content: bytes) -> None:
    since = begin(file, HEADING + b"old\n")
    append(file, content)

    assert read_tail(file, 5, since) == []


def test_a_process_without_logged_output_has_no_lines(file: Path) -> None:
    begin(file, HEADING + b"old\n")

    assert read_tail(file, 5, None) == []
    assert log_tail.read_head(file, since=None, offsets=LEDGER) == []


def test_refused_bytes_follow_the_written_ones(file: Path) -> None:
    since = begin(file, b"old\n")
    append(file, HEADING + b"taken\nhalf a ")

    assert read_tail(file, 5, since, b"line\nlast\n") == ["taken", "half a line", "last"]
    assert read_tail(file, 5, None, b"last\n") == ["last"]


def test_a_rotated_log_is_read_across_its_files(file: Path) -> None:
    oldest = file.with_name("instance.log.2")
    since = begin(oldest, b"old\n")
    append(oldest, HEADING + b"one\n")
    file.with_name("instance.log.1").write_bytes(b"two\n")
    file.write_bytes(b"three\n")

    assert read_tail(file, 5, since) == ["one", "two", "three"]
    assert read_tail(file, 2, since) == ["two", "three"]
    assert log_tail.read_head(file, since=since, offsets=LEDGER) == ["one", "two", "three"]


def test_a_log_rotated_after_its_last_line_has_that_line(file: Path) -> None:
    older = file.with_name("instance.log.1")
    since = begin(older)
    append(older, HEADING + b"last words\n")
    file.write_bytes(b"")

    assert read_tail(file, 5, since) == ["last words"]


def test_later_files_belong_to_the_process_when_its_first_file_is_gone(
    file: Path,
) -> None:
    since = begin(file, b"old\n")
    file.rename(file.with_name("gone"))
    second = file.with_name("instance.log.1")
    second.write_bytes(b"second\n")
    file.write_bytes(b"third\n")
    offsets = StreamOffsets()
    offsets.life = LEDGER.life
    offsets.add(second.stat().st_ino, 100)
    offsets.add(file.stat().st_ino, 107)

    assert read_tail(file, 5, since, offsets=offsets) == ["second", "third"]


def test_after_an_adoption_only_the_newest_file_belongs_to_the_process(
    file: Path,
) -> None:
    since = begin(file, b"old\n")
    file.rename(file.with_name("gone"))
    file.with_name("instance.log.1").write_bytes(b"of an earlier process\n")
    file.write_bytes(b"own\n")

    assert read_tail(file, 5, since, offsets=StreamOffsets()) == ["own"]


def test_a_truncated_log_holds_only_later_output(file: Path) -> None:
    since = begin(file, b"x" * 100 + b"\n")
    file.write_bytes(b"after\n")

    assert read_tail(file, 5, since, offsets=StreamOffsets()) == ["after"]


def test_the_head_of_a_huge_log_is_bounded(file: Path) -> None:
    since = begin(file)
    append(file, b"first\n" + b"x\n" * HEAD_BYTES)

    lines = log_tail.read_head(file, since=since, offsets=LEDGER)

    assert lines[0] == "first"
    assert len(lines) <= HEAD_BYTES


def test_a_line_read_partially_is_omitted(file: Path) -> None:
    since = begin(file)
    append(file, b"x" * TAIL_BYTES + b"\nlast\n")

    assert read_tail(file, 5, since) == ["last"]


def test_of_a_huge_log_only_the_end_is_read(file: Path) -> None:
    since = begin(file)
    with file.open("r+b") as sparse:
        sparse.truncate(1 << 40)
        sparse.seek(0, 2)
        sparse.write(b"\nlast\n")

    assert read_tail(file, 1, since) == ["last"]


def test_a_huge_last_line_is_shown_by_its_end(file: Path) -> None:
    """A crash must be reported although its line is long."""
    since = begin(file)
    append(file, b"first\n" + b"x" * (2 * TAIL_BYTES) + b"END\n")

    lines = read_tail(file, 5, since)

    assert len(lines) == 1
    assert lines[0].endswith("END")


def test_a_missing_log_has_no_lines(file: Path) -> None:
    since = begin(file)
    file.unlink()

    assert read_tail(file, 5, since) == []
