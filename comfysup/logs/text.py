"""Converts the bytes of a log to text that is safe in a terminal, a browser and a program.

The file keeps the bytes. Readers get:

- UTF-8, with U+FFFD for invalid bytes;
- no colours or other escape sequences, no control characters except line end and tab, and no
  bidirectional formatting characters or Unicode line separators;
- lines that end in a line feed, without a carriage return before it.

A carriage return within a line draws the line again, as progress bars do. `Cleaner` keeps it, so a
terminal shows the bar move, as with `tail -f`. `Lines` returns only the last drawing of each line,
which is the final form on a terminal.
"""

import codecs
import re

LONG_LINE = 1 << 16
"""Characters after which an unfinished line is returned in parts, to bound the memory."""

_ESCAPE = re.compile(
    r"\x1b(?:"
    r"\[[0-?]{0,64}[ -/]{0,8}[@-~]"  # colours, cursor
    r"|[\]PX^_][^\x07\x1b\n]{0,1024}(?:\x07|\x1b\\)"  # titles, links, and other strings
    r"|[ -/]{1,8}[0-~]"
    r"|[0-OQ-WYZ\\`-~]"
    r")"
)
_UNFINISHED_ESCAPE = re.compile(
    r"\x1b(?:\[[0-?]{0,64}[ -/]{0,8}|[\]PX^_][^\x07\x1b\n]{0,1024}\x1b?|[ -/]{0,8})\Z"
)
_CONTROL = re.compile(
    r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]"
)
_RETURNS = re.compile(r"\r+(\n?)")


class Cleaner:
    """Converts bytes to text; the bytes may be split anywhere."""

    def __init__(self) -> None:
        """Start at the beginning of a line."""
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._escape = ""
        self._return = ""

    def feed(self, data: bytes, *, final: bool = False) -> str:
        """Return the text of the bytes, except for an end whose meaning depends on later bytes."""
        text = self._escape + self._decoder.decode(data, final)
        self._escape = ""
        if not final and (unfinished := _UNFINISHED_ESCAPE.search(text)):
            self._escape = unfinished[0]
            text = text[: unfinished.start()]
        if "\x1b" in text:
            text = _ESCAPE.sub("", text)
        text = self._return + _CONTROL.sub("", text)
        self._return = "\r" if not final and text.endswith("\r") else ""
        if "\r" not in text:
            return text
        return _RETURNS.sub(_as_one, text.rstrip("\r") if self._return else text)


class Lines:
    """Converts cleaned text to whole lines in their final form."""

    def __init__(self) -> None:
        """Start at the beginning of a line."""
        self.unfinished = ""

    def feed(self, text: str) -> str:
        """Return the finished text: lines with line ends, or a part of a line that is too long.

        The rest is kept in `unfinished`.
        """
        *lines, self.unfinished = (self.unfinished + text).split("\n")
        finished = "".join(f"{last_drawing(line)}\n" for line in lines)
        self.unfinished = last_drawing(self.unfinished)
        if len(self.unfinished) > LONG_LINE:
            finished += self.unfinished
            self.unfinished = ""
        return finished


def last_drawing(line: str) -> str:
    """Return the text after the last carriage return of a line that continues after it."""
    return line.rstrip("\r").rpartition("\r")[2]


def clean(line: str) -> str:
    """Return the final form of a line on a terminal, without colours."""
    return last_drawing(Cleaner().feed(line.encode(errors="replace"), final=True))


def _as_one(returns: re.Match[str]) -> str:
    """Replace several carriage returns by one, or by the line end that follows them."""
    return returns[1] or "\r"
