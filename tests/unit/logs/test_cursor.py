import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comfysup.logs.cursor import BLOCK, END, Cursor, Piece
from comfysup.logs.files import LogFiles
from comfysup.logs.resume_token import ResumeToken, StreamOffsets
from tests.unit.linux.children import open_descriptors
from tests.unit.logs.cursors import put, rest, rotate
from tests.unit.logs.test_writer import Log

MakeCursor = Callable[[], Cursor]


@pytest.fixture
def files(tmp_path: Path) -> LogFiles:
    return LogFiles(tmp_path / "log")


@pytest.fixture
def offsets() -> StreamOffsets:
    return StreamOffsets()


@pytest.fixture
def make(files: LogFiles, offsets: StreamOffsets) -> Iterator[MakeCursor]:
    made = []

    def make_one() -> Cursor:
        made.append(Cursor(files, lambda: offsets))
        return made[-1]

    yield make_one
    for cursor in made:
        cursor.close()


def last_lines(contents: list[bytes], count: int) -> bytes:
    """Return the output of `tail -n`."""
    lines = b"".join(contents).splitlines(keepends=True)
    return b"".join(lines[len(lines) - min(count, len(lines)) :])


@given(
    contents=st.lists(
        st.lists(st.sampled_from([b"\n", b"a\n", b"bc\n"])).map(b"".join), max_size=4
    ),
    end=st.sampled_from([b"", b"no end"]),
    count=st.integers(0, 12),
)
def test_the_last_lines_equal_those_of_tail(
    tmp_path_factory: pytest.TempPathFactory, contents: list[bytes], end: bytes, count: int
) -> None:
    contents = [*contents, end]
    files = LogFiles(tmp_path_factory.mktemp("log") / "log")
    put(files, *contents)
    cursor = Cursor(files, lambda: None)

    behind = cursor.seek_lines(count)

    assert last_lines(contents, count) == rest(cursor)
    assert behind == len(last_lines(contents, count))
    cursor.close()


@pytest.mark.parametrize("size", [BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK])
def test_lines_across_block_boundaries_are_found(
    files: LogFiles, make: MakeCursor, size: int
) -> None:
    content = b"first\n" + b"x" * size + b"\nlast\n"
    put(files, content)

    for count in range(5):
        cursor = make()
        cursor.seek_lines(count)
        assert last_lines([content], count) == rest(cursor)


def test_only_the_needed_blocks_are_read(files: LogFiles, make: MakeCursor) -> None:
    """A file too large to be read to its beginning."""
    with files.path.open("wb") as sparse:
        sparse.truncate(1 << 42)
        sparse.seek(0, os.SEEK_END)
        sparse.write(b"\none\ntwo\n")
    files.numbered(1).mkdir()  # and one that nobody could read at all

    cursor = make()
    cursor.seek_lines(2)

    assert rest(cursor) == b"one\ntwo\n"


def test_a_rotation_during_a_read_loses_nothing(
    files: LogFiles, offsets: StreamOffsets, make: MakeCursor
) -> None:
    put(files, b"one\n")
    cursor = make()
    read = rest(cursor)

    with files.path.open("ab") as log:
        log.write(b"two\n")
    rotate(files, offsets, keep=3)
    files.path.write_bytes(b"three\n")
    rotate(files, offsets, keep=3)
    files.path.write_bytes(b"four\n")

    assert (read, rest(cursor)) == (b"one\n", b"two\nthree\nfour\n")


def test_a_file_removed_during_a_read_is_read_to_its_end(
    files: LogFiles, offsets: StreamOffsets, make: MakeCursor
) -> None:
    put(files, b"one\n")
    offsets.survey(files)
    cursor = make()
    cursor.seek_lines(1)

    rotate(files, offsets, keep=0)
    files.path.write_bytes(b"two\n")

    assert rest(cursor) == b"one\ntwo\n"


def test_bytes_removed_unread_are_counted(
    files: LogFiles, offsets: StreamOffsets, make: MakeCursor
) -> None:
    put(files, b"one\n")
    offsets.survey(files)
    cursor = make()
    cursor.seek_lines(9)

    for content in (b"two\n", b"three\n", b"four\n", b"five\n"):
        rotate(files, offsets, keep=1)
        files.path.write_bytes(content)
    pieces = [cursor.read() for _ in range(5)]

    missed = len("two\nthree\n")
    assert [
        Piece(b"one\n"),
        Piece(missed=missed),
        Piece(b"four\n"),
        Piece(b"five\n"),
        END,
    ] == pieces


def test_bytes_removed_by_another_program_are_reported_without_a_number(
    files: LogFiles, make: MakeCursor
) -> None:
    put(files, b"one\n")
    cursor = make()
    rest(cursor)

    files.path.unlink()
    gone = cursor.read()
    put(files, b"two\n")
    pieces = [cursor.read(), cursor.read()]

    assert gone == END
    assert [Piece(missed=None), Piece(b"two\n")] == pieces


def test_a_log_is_read_once_it_exists(files: LogFiles, make: MakeCursor) -> None:
    cursor = make()
    cursor.seek_lines(5)
    nothing = cursor.read()

    put(files, b"first\n")

    assert (nothing, rest(cursor)) == (END, b"first\n")


def test_a_truncated_log_is_read_from_its_beginning(files: LogFiles, make: MakeCursor) -> None:
    put(files, b"one\ntwo\n")
    cursor = make()
    rest(cursor)

    put(files, b"new\n")

    assert rest(cursor) == b"new\n"


# ---- coming back


def test_a_position_is_found_after_any_number_of_rotations(
    files: LogFiles, offsets: StreamOffsets, make: MakeCursor
) -> None:
    put(files, b"one\ntwo\n")
    first = make()
    first.seek_lines(2)
    first.read()
    place = first.place(len("two\n"))

    rotate(files, offsets, keep=3)
    files.path.write_bytes(b"three\n")
    rotate(files, offsets, keep=3)
    second = make()
    second.seek_place(ResumeToken.parse(str(place)) or place)

    assert rest(second) == b"two\nthree\n"


def test_a_removed_position_leads_to_the_oldest_byte_and_the_number_of_missing_ones(
    files: LogFiles, offsets: StreamOffsets, make: MakeCursor
) -> None:
    put(files, b"one\ntwo\n")
    offsets.survey(files)
    first = make()
    first.seek_lines(2)
    first.read()
    place = first.place(len("two\n"))
    for content in (b"three\n", b"four\n"):
        rotate(files, offsets, keep=0)
        files.path.write_bytes(content)

    second = make()
    second.seek_place(place)

    assert [Piece(missed=len("two\nthree\n")), Piece(b"four\n")] == [second.read(), second.read()]


def test_a_reused_inode_does_not_match_a_position(files: LogFiles, make: MakeCursor) -> None:
    put(files, b"one\ntwo\n")
    cursor = make()
    cursor.seek_lines(9)
    cursor.read()
    place = cursor.place(0)
    put(files, b"another log, longer than the first\n")  # in the same inode

    cursor.seek_place(place)

    assert [Piece(missed=None), Piece(b"another log, longer than the first\n")] == [
        cursor.read(),
        cursor.read(),
    ]


@pytest.mark.parametrize(
    "text", ["", "7", "x-1-00000000", "1-2", "1-2-3", "-1-2-00000000", "1" * 99]
)
def test_an_invalid_position_is_ignored(text: str) -> None:
    assert ResumeToken.parse(text) is None


def test_a_closed_cursor_holds_no_descriptor(files: LogFiles) -> None:
    put(files, b"one\n", b"two\n", b"three\n")
    before = open_descriptors()
    cursor = Cursor(files, lambda: None)
    cursor.seek_lines(2)
    rest(cursor)

    cursor.close()

    assert (END, before) == (cursor.read(), open_descriptors())


def test_a_closed_cursor_opens_nothing(files: LogFiles) -> None:
    """A thread may start to read after its caller has gone."""
    put(files, b"one\n", b"two\n", b"three\n")
    cursor = Cursor(files, lambda: None)
    rest(cursor)
    place = cursor.place(0)
    cursor.close()
    before = open_descriptors()

    cursor.seek_lines(2)
    cursor.seek_place(place)
    cursor.seek_place(ResumeToken(0, 0, 0, 0, 0))

    assert (END, before) == (cursor.read(), open_descriptors())


def test_bytes_written_right_before_a_rotation_are_read(
    files: LogFiles, offsets: StreamOffsets, make: MakeCursor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the moment when the reader has just found the end of the file."""
    put(files, b"one\n")
    cursor = make()
    rest(cursor)
    read = os.pread

    def read_and_lose_the_race(file: int, count: int, offset: int) -> bytes:
        data = read(file, count, offset)
        if not data and not files.numbered(1).exists():
            with files.path.open("ab") as log:
                log.write(b"two\n")
            rotate(files, offsets, keep=3)
        return data

    monkeypatch.setattr(os, "pread", read_and_lose_the_race)

    assert rest(cursor) + rest(cursor) == b"two\n"


def write_each(log: Log, lines: list[bytes]) -> None:
    for line in lines:
        log.write(line)


@pytest.mark.parametrize("keep", [0, 1, 3, 120])
def test_a_reader_during_writes_and_rotations_reads_or_counts_every_byte(
    tmp_path: Path, keep: int
) -> None:
    log = Log(tmp_path / "log", max_bytes=2_000, keep=keep)
    lines = [b"%049d\n" % number for number in range(8_000)]
    log.write(lines[0])  # the ledger begins with it
    cursor = Cursor(log.files, lambda: log.writer.offsets)
    pieces = [cursor.read()]
    thread = threading.Thread(target=write_each, args=(log, lines[1:]))
    thread.start()

    alive = True
    while alive or pieces[-1] != END:
        alive = thread.is_alive()
        pieces.append(cursor.read())
    thread.join()

    position = 0
    written = b"".join(lines)
    for piece in pieces:
        assert piece.missed is not None
        position += piece.missed
        assert written[position : position + len(piece.data)] == piece.data
        position += len(piece.data)
    assert position == 50 * len(lines)
    cursor.close()
    log.close()
