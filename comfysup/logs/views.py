"""Views of a log for readers, based on a cursor. They block on the disk, so they run in threads."""

from typing import Protocol, TypeVar

from comfysup.logs.cursor import END, Cursor
from comfysup.logs.text import Cleaner, Lines
from comfysup.model.observed import LineBatch

T_co = TypeVar("T_co", covariant=True)


class View(Protocol[T_co]):
    """Returns the output since the last call."""

    def read(self) -> T_co | None:
        """Return the new output, or None if there is none; raises OSError."""


class TailView:
    """A given number of bytes, as lines in their final form."""

    def __init__(self, cursor: Cursor, count: int) -> None:
        """Show the next `count` bytes."""
        self._cursor = cursor
        self._left = count
        self._cleaner = Cleaner()
        self._lines = Lines()

    def read(self) -> str | None:
        while self._left > 0:
            piece = self._cursor.read()
            data = piece.data[: self._left]
            # Removed output, or output after the end of the log, will not come any more.
            self._left -= len(data) or piece.missed or self._left
            text = self._lines.feed(self._cleaner.feed(data, final=self._left <= 0))
            if piece.missed != 0:
                text += missed(piece.missed)
            if self._left <= 0:
                text += self._lines.unfinished
            if text:
                return text
        return None


class TerminalView:
    """All output, as a terminal shows it."""

    def __init__(self, cursor: Cursor) -> None:
        """Show the output after the cursor."""
        self._cursor = cursor
        self._cleaner = Cleaner()
        self._in_line = False

    def read(self) -> str | None:
        while (piece := self._cursor.read()) != END:
            text = self._cleaner.feed(piece.data)
            if piece.missed != 0:
                self._cleaner = Cleaner()
                text = "\n" * self._in_line + missed(piece.missed)
            if text:
                self._in_line = not text.endswith("\n")
                return text
        return None


class LineView:
    """All output as whole lines, with a place from which to resume."""

    def __init__(self, cursor: Cursor) -> None:
        """Show the output after the cursor."""
        self._cursor = cursor
        self._cleaner = Cleaner()
        self._lines = Lines()

    def read(self) -> LineBatch | None:
        while (piece := self._cursor.read()) != END:
            if piece.missed != 0:
                left = self._lines.feed("\n") if self._lines.unfinished else ""
                self._cleaner = Cleaner()
                return LineBatch(left + missed(piece.missed), "", "")
            before = self._lines.unfinished
            text = self._lines.feed(self._cleaner.feed(piece.data))
            if text or self._lines.unfinished != before:
                return LineBatch(text, self._lines.unfinished, self._place(piece.data))
        return None

    def _place(self, data: bytes) -> str:
        behind = len(data) - (data.rfind(b"\n") + 1)
        return "" if behind == len(data) else str(self._cursor.place(behind))


def missed(count: int | None) -> str:
    """Return the line that replaces missing bytes."""
    return f"[comfysup: {'some' if count is None else count} bytes missed]\n"
