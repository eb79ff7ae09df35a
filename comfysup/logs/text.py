"""The bytes of a log as text that is harmless on a terminal, in a browser and in a program.

The file keeps the bytes; of them, readers get:

- UTF-8, with U+FFFD for what is none;
- no colours nor other escape sequences, no control characters but line end and tab, and none that
  turn the direction of writing or end a line in Unicode's own way;
- lines that end in a line feed, also where a carriage return stood before it.

A carriage return within a line draws it again, as progress bars do. Who watches (`Cleaner`) gets it
as it is, and a terminal shows the bar move, as `tail -f` does. Who reads whole lines (`Lines`) gets
of each only its last drawing: what a terminal shows in the end.
"""

import codecs
import re

LONG_LINE = 1 << 16
"""Characters after which an unfinished line is given in parts, so that none is kept in memory."""

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
    """Makes text of bytes that come in pieces, wherever they are cut."""

    def __init__(self) -> None:
        """Begin at the beginning of a line."""
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._escape = ""
        self._return = ""

    def feed(self, data: bytes, *, final: bool = False) -> str:
        """Return the text of what has come, but for an end that may mean something else later."""
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
    """Makes whole lines of cleaned text, each as it was drawn last."""

    def __init__(self) -> None:
        """Begin at the beginning of a line."""
        self.unfinished = ""

    def feed(self, text: str) -> str:
        """Return what is finished: lines with their line ends, or a part of one that is too long.

        What is not is kept in `unfinished`.
        """
        *lines, self.unfinished = (self.unfinished + text).split("\n")
        finished = "".join(f"{last_drawing(line)}\n" for line in lines)
        self.unfinished = last_drawing(self.unfinished)
        if len(self.unfinished) > LONG_LINE:
            finished += self.unfinished
            self.unfinished = ""
        return finished


def last_drawing(line: str) -> str:
    """Return what stands behind the last carriage return of a line that goes on after it."""
    return line.rstrip("\r").rpartition("\r")[2]


def clean(line: str) -> str:
    """Return what a terminal would show of a line in the end, without colours."""
    return last_drawing(Cleaner().feed(line.encode(errors="replace"), final=True))


def _as_one(returns: re.Match[str]) -> str:
    """Make a line end, or one carriage return, of several carriage returns."""
    return returns[1] or "\r"
