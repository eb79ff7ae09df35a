"""Going through a log from file to file, while it is written to and rotated.

Blocks on the disk: for threads.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock

from comfysup.logs.files import LogFiles
from comfysup.logs.resume_token import ResumeToken, StreamOffsets

BLOCK = 1 << 16
"""Bytes that are read at a time, whatever is asked for."""


@dataclass(frozen=True, slots=True)
class Piece:
    """What was read: bytes, none at the end of the log; or how many are missing here.

    `missed` is None where nobody knows the number.
    """

    data: bytes = b""
    missed: int | None = 0


END = Piece()


class Cursor:
    """A place in a log, which moves on as it is read. It keeps the file open that it is in."""

    def __init__(self, files: LogFiles, offsets: Callable[[], StreamOffsets | None]) -> None:
        """Stand before the oldest byte, whenever there will be one; opens nothing."""
        self._files = files
        self._offsets = offsets
        self._lock = Lock()
        self._closed = False
        self._file = -1
        self._inode = 0
        self._offset = 0
        self._missed: int | None = 0

    def seek_lines(self, count: int) -> int:
        """Go to where the last so many lines begin; return the bytes from there to the end.

        A last line without line end counts. Reads no more than it needs; raises OSError.
        """
        behind = 0
        wanted = -1  # line ends from the end of the log; the one it ends with parts no two lines
        with self._lock, self._files.opened() as files:
            if self._closed:
                return 0
            for found in files:
                if wanted < 0 and found.size:
                    wanted = count + (os.pread(found.fd, 1, found.size - 1) == b"\n")
                begin, seen = _find_back(found.fd, found.size, wanted)
                self._enter(os.dup(found.fd), begin)
                behind += found.size - begin
                wanted -= seen
                if wanted == 0:
                    break
            return behind

    def seek_place(self, place: ResumeToken) -> None:
        """Go to a place that a reader had come to, or to the oldest byte if it is gone."""
        with self._lock, self._files.opened() as files:
            if self._closed:
                return
            for found in files:
                if place.is_in(found.fd):
                    self._enter(os.dup(found.fd), place.offset)
                    return
            offsets = self._offsets()
            known = offsets is not None and offsets.life == place.life
            self._enter(-1, 0)
            self._step_over(place.position if known else None)

    def read(self) -> Piece:
        """Read on, over the ends of files; raises OSError."""
        with self._lock:
            while not self._closed and self._missed == 0:
                superseded = self._superseded()
                # A superseded file gets no byte any more, but may have got some until then.
                if data := self._read_here():
                    return Piece(data)
                if not superseded:
                    return END
                begins = self._file < 0
                self._step_over(self._position())
                self._missed = 0 if begins else self._missed
            missed, self._missed = self._missed, 0
            return Piece(missed=missed)

    def place(self, back: int) -> ResumeToken:
        """Name the place so many bytes before this one, in the same file."""
        with self._lock:
            offsets = self._offsets()
            begin = offsets.begin(self._inode) if offsets else None
            life = offsets.life if offsets and begin is not None else 0
            return ResumeToken.at(self._file, self._offset - back, life, begin or 0)

    def abandon(self) -> bool:
        """Find nothing any more, without a wait; say whether there is a file left for `close`."""
        self._closed = True
        return self._file >= 0 or self._lock.locked()

    def close(self) -> None:
        """Let go of the file, when nobody else is reading.

        The methods of a closed cursor find nothing and keep no file open: a thread may have been
        given one of them before this, and begin it only now.
        """
        with self._lock:
            self._closed = True
            self._enter(-1, 0)

    def _read_here(self) -> bytes:
        if self._file < 0:
            return b""
        data = os.pread(self._file, BLOCK, self._offset)
        if not data and os.fstat(self._file).st_size < self._offset:
            # Somebody has emptied it.
            self._offset = 0
            data = os.pread(self._file, BLOCK, 0)
        self._offset += len(data)
        return data

    def _superseded(self) -> bool:
        """Whether another file has the name that is written to."""
        try:
            return self._files.path.lstat().st_ino != self._inode or self._file < 0
        except FileNotFoundError:
            return False

    def _step_over(self, position: int | None) -> None:
        """Go to the file after this one; to the oldest, if this one is gone.

        `position` is where the reader had come to, in the terms of `StreamOffsets`.
        """
        with self._files.opened() as files:
            inodes = [found.inode for found in files]
            here = inodes.index(self._inode) if self._inode in inodes else len(inodes)
            if here > 0:
                if here == len(inodes):
                    self._missed = self._count_missed(position, inodes[-1])
                self._enter(os.dup(files[here - 1].fd), 0)

    def _position(self) -> int | None:
        """Return where this is by the offsets; None where that is not known."""
        offsets = self._offsets()
        begin = offsets.begin(self._inode) if offsets else None
        return None if begin is None else begin + self._offset

    def _count_missed(self, position: int | None, next_inode: int) -> int | None:
        offsets = self._offsets()
        begin = offsets.begin(next_inode) if offsets else None
        return None if begin is None or position is None else max(0, begin - position)

    def _enter(self, file: int, offset: int) -> None:
        if self._file >= 0:
            os.close(self._file)
        self._file = file
        self._inode = os.fstat(file).st_ino if file >= 0 else 0
        self._offset = offset


def _find_back(file: int, end: int, count: int) -> tuple[int, int]:
    """Return the offset behind the `count`th line end before `end`, else 0; and how many it saw."""
    if count <= 0:
        return end, 0
    left = count
    while end > 0:
        begin = max(0, end - BLOCK)
        block = os.pread(file, end - begin, begin)
        if (seen := block.count(b"\n")) >= left:
            at = len(block)
            for _ in range(left):
                at = block.rindex(b"\n", 0, at)
            return begin + at + 1, count
        left -= seen
        end = begin
    return 0, count - left
