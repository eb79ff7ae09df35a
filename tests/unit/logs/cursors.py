"""The files of a log as a cursor finds them, and what it reads."""

from comfysup.logs.cursor import END, Cursor
from comfysup.logs.files import LogFiles
from comfysup.logs.resume_token import StreamOffsets


def put(files: LogFiles, *contents: bytes) -> None:
    """Create the files of a log, the oldest first."""
    for number, content in enumerate(reversed(contents)):
        files.numbered(number).write_bytes(content)


def rest(cursor: Cursor) -> bytes:
    """Return all available bytes, and assert that none is missing."""
    data = b""
    while (piece := cursor.read()) != END:
        assert piece.missed == 0
        data += piece.data
    return data


def rotate(files: LogFiles, offsets: StreamOffsets, keep: int) -> None:
    """Rotate a log as the writer does."""
    before = files.path.stat()
    begin = offsets.begin(before.st_ino) or 0
    files.rotate(keep)
    files.path.touch()
    offsets.add(files.path.stat().st_ino, begin + before.st_size)
