r"""Makes text safe to print on a terminal.

Names of processes, environments and files, versions and arguments come from untrusted sources.
Control characters (C0, DEL and C1), bidirectional formatting characters and Unicode line separators
are shown as escapes, such as `\x9b` and `\u202e`.
"""

from collections.abc import Mapping

SHOWN_CHARS = 60
"""A value in an error message is cut to this many characters."""

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
    """Return `text` with escapes for unsafe characters; line ends and tabs are kept."""
    if text.isascii() and text.isprintable():
        return text
    return text.encode("utf-8", "backslashreplace").decode().translate(_ESCAPES)


def printable_line(text: str) -> str:
    """Return `text` as a single line; line ends and tabs are escaped too."""
    return printable(text).replace("\n", "\\n").replace("\t", "\\t")


def printable_values(value: object) -> object:
    """Return a JSON value with every text in it made printable."""
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
    """Return a JSON document of `json.dumps` with unsafe characters escaped."""
    if text.isascii() and "\x7f" not in text:
        return text
    return text.translate(_ESCAPES_IN_JSON)


def shortened(text: str, most: int = SHOWN_CHARS) -> str:
    """Return `text` as a single safe line of at most `most` characters, followed by `…` if cut."""
    line = printable_line(text[: most + 1])
    return line if len(text) <= most and len(line) <= most else f"{line[:most]}…"
