from pathlib import Path

import pytest

from comfysup.system.log_tail import TAIL_BYTES, read_tail


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "instance.log"


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
    file.write_bytes(content)

    assert lines == read_tail(file, 2)


def test_what_stands_before_a_heading_is_left_out(file: Path) -> None:
    file.write_bytes(b"old\n=== 1 starts\nlast run\n=== 2 starts\nnew\n")

    assert read_tail(file, 5, after="2 starts") == ["new"]
    assert read_tail(file, 5, after="1 starts") == ["last run", "=== 2 starts", "new"]
    assert read_tail(file, 2, after="3 starts") == ["=== 2 starts", "new"]


def test_a_process_that_wrote_nothing_has_no_lines(file: Path) -> None:
    file.write_bytes(b"old\n=== 2 starts\n")

    assert read_tail(file, 5, after="2 starts") == []


def test_a_log_that_was_rotated_meanwhile_is_read_across_its_files(file: Path) -> None:
    file.with_name("instance.log.2").write_bytes(b"old\n=== 2 starts\none\n")
    file.with_name("instance.log.1").write_bytes(b"two\n")
    file.write_bytes(b"three\n")

    assert read_tail(file, 5, after="2 starts") == ["one", "two", "three"]
    assert read_tail(file, 2, after="2 starts") == ["two", "three"]


def test_a_log_that_was_rotated_at_its_last_line_still_has_it(file: Path) -> None:
    file.with_name("instance.log.1").write_bytes(b"=== 2 starts\nlast words\n")
    file.write_bytes(b"")

    assert read_tail(file, 5, after="2 starts") == ["last words"]


def test_a_line_whose_beginning_was_not_read_is_left_out(file: Path) -> None:
    file.write_bytes(b"x" * TAIL_BYTES + b"\nlast\n")

    assert read_tail(file, 5) == ["last"]


def test_of_a_huge_log_only_the_end_is_read(file: Path) -> None:
    with file.open("wb") as sparse:
        sparse.truncate(1 << 40)
        sparse.seek(0, 2)
        sparse.write(b"\nlast\n")

    assert read_tail(file, 1) == ["last"]


def test_a_huge_last_line_is_shown_by_its_end(file: Path) -> None:
    """A crash must not be silent because its line was long."""
    file.write_bytes(b"first\n" + b"x" * (2 * TAIL_BYTES) + b"END\n")

    lines = read_tail(file, 5)

    assert len(lines) == 1
    assert lines[0].endswith("END")


def test_a_log_that_is_not_there_has_no_lines(file: Path) -> None:
    assert read_tail(file, 5) == []
