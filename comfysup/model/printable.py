r"""Text that is harmless on a terminal: no character steers it, hides or turns others.

Names of processes, environments and files, versions and arguments are chosen by strangers. Control
characters (C0, DEL and C1), those that turn the direction of writing, and Unicode's own line ends
are shown as escapes, as in `\x9b` and `\u202e`.
"""

from collections.abc import Mapping

SHOWN_CHARS = 60
"""A value that somebody sent is cut there: errors are read on a terminal."""

_C0 = frozenset(range(0x20)) - {ord("\t"), ord("\n")}
_BEYOND = frozenset(
    {
        *range(0x7F, 0xA0),  # DEL and C1
        0x061C,
        *range(0x200E, 0x2010),
        *range(0x2028, 0x202F),  # line and paragraph separators, embeddings and overrides
        *range(0x2066, 0x206A),  # isolates
    }
)
_ESCAPES = {code: ascii(chr(code))[1:-1] for code in _C0 | _BEYOND}
_ESCAPES_IN_JSON = {code: f"\\u{code:04x}" for code in _BEYOND}


def printable(text: str) -> str:
    """Return a text with escapes for all that is not harmless; line ends and tabs stay."""
    if text.isascii() and text.isprintable():
        return text
    return text.encode("utf-8", "backslashreplace").decode().translate(_ESCAPES)


def printable_line(text: str) -> str:
    """Return a text as a single line; line ends and tabs are shown as escapes too."""
    return printable(text).replace("\n", "\\n").replace("\t", "\\t")


def printable_values(value: object) -> object:
    """Return what JSON said with every text in it made printable."""
    match value:
        case str():
            return printable(value)
        case list():
            return [printable_values(each) for each in value]
        case Mapping():
            return {printable(str(key)): printable_values(each) for key, each in value.items()}
        case _:
            return value


def printable_json(text: str) -> str:
    """Return a JSON document, as `json.dumps` wrote it, that is harmless and means the same."""
    if text.isascii() and "\x7f" not in text:
        return text
    return text.translate(_ESCAPES_IN_JSON)


def shortened(text: str, most: int = SHOWN_CHARS) -> str:
    """Return a text as a single harmless line of at most `most` characters and `…`."""
    line = printable_line(text[: most + 1])
    return line if len(text) <= most and len(line) <= most else f"{line[:most]}…"
