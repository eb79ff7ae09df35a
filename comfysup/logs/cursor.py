"""Reads a log from file to file while the log is written and rotated.

Blocks on the disk, so it runs in threads.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock

from comfysup.logs.files import LogFiles
from comfysup.logs.resume_token import ResumeToken, StreamOffsets

BLOCK = 1 << 16
"""The maximum number of bytes per read."""


@dataclass(frozen=True, slots=True)
class Piece:
    """The result of a read: bytes, none at the end of the log, or a number of missing bytes.

    `missed` is None if the number is unknown.
    """

    data: bytes = b""
    missed: int | None = 0


END = Piece()


class Cursor:
    """A position in a log, which advances with each read. It keeps its file open."""

    def __init__(self, files: LogFiles, offsets: Callable[[], StreamOffsets | None]) -> None:
        """Start before the oldest byte, also of a log that does not exist yet; opens nothing."""
        self._files = files
        self._offsets = offsets
        self._lock = Lock()
        self._closed = False
        self._file = -1
        self._inode = 0
        self._offset = 0
        self._missed: int | None = 0

    def seek_lines(self, count: int) -> int:
        """Move to the start of the last `count` lines; return the bytes from there to the end.

        An unterminated last line counts. Reads no more than needed. Raises OSError.
        """
        behind = 0
        wanted = -1  # line ends from the end of the log; a final line end separates no lines
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
        """Move to a place of an earlier reader, or to the oldest byte if that is gone."""
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
        """Return the next piece, across the ends of files; raises OSError."""
        with self._lock:
            while not self._closed and self._missed == 0:
                superseded = self._superseded()
                # A superseded file gets no more bytes, but may have got some before this check.
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
        """Return the place `back` bytes before this one, in the same file."""
        with self._lock:
            offsets = self._offsets()
            begin = offsets.begin(self._inode) if offsets else None
            life = offsets.life if offsets and begin is not None else 0
            return ResumeToken.at(self._file, self._offset - back, life, begin or 0)

    def abandon(self) -> bool:
        """Stop all reads without waiting; return whether `close` still has a file to close."""
        self._closed = True
        return self._file >= 0 or self._lock.locked()

    def close(self) -> None:
        """Close the file, once no thread is reading.

        A closed cursor returns nothing and keeps no file open, because a thread may start one of
        its methods only later.
        """
        with self._lock:
            self._closed = True
            self._enter(-1, 0)

    def _read_here(self) -> bytes:
        if self._file < 0:
            return b""
        data = os.pread(self._file, BLOCK, self._offset)
        if not data and os.fstat(self._file).st_size < self._offset:
            # The file has been truncated.
            self._offset = 0
            data = os.pread(self._file, BLOCK, 0)
        self._offset += len(data)
        return data

    def _superseded(self) -> bool:
        """Return whether the log's name now belongs to another file."""
        try:
            return self._files.path.lstat().st_ino != self._inode or self._file < 0
        except FileNotFoundError:
            return False

    def _step_over(self, position: int | None) -> None:
        """Move to the file after this one, or to the oldest if this one is gone.

        `position` is the reader's position in the terms of `StreamOffsets`.
        """
        with self._files.opened() as files:
            inodes = [found.inode for found in files]
            here = inodes.index(self._inode) if self._inode in inodes else len(inodes)
            if here > 0:
                if here == len(inodes):
                    self._missed = self._count_missed(position, inodes[-1])
                self._enter(os.dup(files[here - 1].fd), 0)

    def _position(self) -> int | None:
        """Return the position of this cursor by the offsets; None if unknown."""
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
    """Return the offset after the `count`th line end before `end`, else 0; and the number seen."""
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
