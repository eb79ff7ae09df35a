"""What a reader of a log is given."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LineBatch:
    """What has come: whole lines, and what stands of the next one.

    `text` has the line ends between and behind the lines; a line over 64 kB comes in parts without
    one. `place` is behind the last whole line, and empty where there is none.
    """

    text: str
    unfinished: str
    place: str
