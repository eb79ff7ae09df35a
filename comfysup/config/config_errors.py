"""The errors of a file of instances with their places, and the reading of the file."""

import os
import stat
from pathlib import Path
from typing import Final

from comfysup.config.field_errors import shown
from comfysup.config.jsonc import Lines
from comfysup.config.jsonc import Path as Place
from comfysup.model.instances_file import ConfigError
from comfysup.model.printable import SHOWN_CHARS

MAX_FILE_BYTES: Final = 8 << 20


class UnreadableError(Exception):
    """The file cannot be used at all, for the given reason."""

    def __init__(self, mistake: ConfigError) -> None:
        """Keep the reason as an error of the file."""
        super().__init__(mistake.summary)
        self.mistake = mistake


def read_text(path: Path) -> str:
    """Return the text of the file at one moment, without a BOM.

    The file is opened once, so a concurrent replacement has no effect. Raises FileNotFoundError
    when the file does not exist, and `UnreadableError` when it cannot be read.
    """
    try:
        with open(path, "rb", opener=_open_at_once) as file:
            is_file = stat.S_ISREG(os.fstat(file.fileno()).st_mode)
            content = file.read(MAX_FILE_BYTES + 1) if is_file else b""
            refused = "" if is_file else "it is not a file"
    except FileNotFoundError:
        raise
    except IsADirectoryError:
        content = b""
        refused = "it is a directory (docker makes one where the file to mount is missing)"
    except OSError as error:
        refused, content = error.strerror or str(error), b""
    if len(content) > MAX_FILE_BYTES:
        refused = f"it is larger than {MAX_FILE_BYTES >> 20} MB"
    if refused:
        raise UnreadableError(ConfigError("", 0, 0, f"cannot read {path}: {refused}"))
    return _decoded(content)


def written(place: Place) -> str:
    """Return a place as text, such as `instances[0].port`."""
    text = ""
    for part in place:
        match part:
            case int():
                text += f"[{part}]"
            case str() if part.isidentifier() and len(part) <= SHOWN_CHARS:
                text += f".{part}"
            case _:
                text += f"[{shown(part)}]"
    return text.removeprefix(".")


def _open_at_once(path: str, flags: int) -> int:
    """Open without blocking; a FIFO would block the daemon until a writer opens it."""
    return os.open(path, flags | os.O_NONBLOCK)


def _decoded(content: bytes) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = content[: error.start].decode("utf-8-sig", errors="replace")
        line, column = Lines(before).position(len(before))
        byte = f"0x{content[error.start]:02x}"
        raise UnreadableError(ConfigError("", line, column, f"must be UTF-8, has {byte}")) from None
