"""Bodies of a start, from what the scripts were given."""

import json
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from comfysup.cli.errors import FailedError

if TYPE_CHECKING:
    from comfysup.cli.instances_file import DaemonsFile


def base_port(environ: Mapping[str, str], daemons: int) -> int:
    """The caller's COMFYUI_BASE_PORT, else that of the daemon."""
    written = environ.get("COMFYUI_BASE_PORT", "").strip()
    if not written:
        return daemons
    if not (written.isascii() and written.isdigit()):
        raise FailedError(f"COMFYUI_BASE_PORT must be a port, is {written!r}")
    return int(written)


def configuration(text: str) -> dict[str, Any]:
    """A configuration as an argument; like the file it may have comments."""
    try:
        value = json.loads(text)
    except ValueError:
        value = _with_comments(text)
    if not isinstance(value, dict):
        raise FailedError('cannot read the configuration: it must be {"instances": [...]}')
    return {"environment": os.environ.get("COMFYUI_ENVIRONMENT") or None, **value}


def for_ports(file: "DaemonsFile", ports: Sequence[int]) -> list[dict[str, Any]]:
    """An instance for each port: that of the file, or one with the id that belongs to the port."""
    from comfysup.cli.instances_file import body_of

    written = {entry.spec.port: body_of(entry.spec) for entry in file.entries}
    base = base_port(os.environ, file.base_port)
    if low := [port for port in ports if port < base and port not in written]:
        raise FailedError(
            f"cannot start an instance on port {low[0]}: it is below the base port {base}, so no "
            f"id belongs to it; give it one in {file.path}"
        )
    environment = os.environ.get("COMFYUI_ENVIRONMENT") or None
    new = {port: {"id": port - base, "port": port, "environment": environment} for port in ports}
    return [written.get(port, new[port]) for port in ports]


def _with_comments(text: str) -> object:
    from comfysup.settings.jsonc import JsonSyntaxError, Lines, parse

    try:
        return parse(text).value
    except JsonSyntaxError as error:
        line, column = Lines(text).position(error.offset)
        place = f"line {line}, column {column}"
        raise FailedError(f"cannot read the configuration: {place}: {error}") from None
