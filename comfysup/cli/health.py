"""`comfysup health`: checks the daemon or an instance. Standard library only.

It implements HTTP/1.0 over the run directory's socket itself, because importing `http.client` takes
as long as the whole check.
"""

import os
import socket
from collections.abc import Sequence
from contextlib import suppress

from comfysup.config.run_location import SOCKET_NAME, run_location
from comfysup.model.printable import printable

HEALTHY = 0
UNHEALTHY = 1
USAGE_ERROR = 2
STDOUT = 1
STDERR = 2
PATIENCE = 5.0
"""Seconds that the daemon gets to answer."""

USAGE = """usage: comfysup health [--ready] [--instance REF]

Exit with 0 when the daemon works, with 1 when it does not.
  --ready          ... and all instances that should run are ready
  --instance REF   ... and that instance, by id or name, is ready and answers
Both together ask for both."""


def main(arguments: Sequence[str]) -> int:
    """Print one line and return the exit code."""
    ready, ref = False, None
    rest = list(arguments)
    while rest:
        match rest:
            case ["--ready", *others]:
                ready, rest = True, others
            case ["--instance", *_] if ref is not None:
                return _refuse("--instance is given twice: name one instance")
            case ["--instance", word, *others] if word:
                ref, rest = word, others
            case [word, *others] if word.startswith("--instance=") and word != "--instance=":
                rest = ["--instance", word.partition("=")[2], *others]
            case ["--help" | "-h", *_]:
                _say(STDOUT, USAGE)
                return HEALTHY
            case ["--instance" | "--instance=", *_]:
                return _refuse("--instance needs the id or the name of an instance")
            case _:
                return _refuse(f"unknown argument '{printable(rest[0])}'")
    reason = None if ref is None else _check_instance(ref)
    if reason is None and (ready or ref is None):
        reason = _check("/readyz" if ready else "/livez")
    if reason is None:
        _say(STDOUT, "healthy")
        return HEALTHY
    _say(STDERR, f"unhealthy: {printable(reason)}")
    return UNHEALTHY


def _refuse(reason: str) -> int:
    """Report wrong usage and return its exit code."""
    _say(STDERR, f"comfysup health: {reason}\n{USAGE}")
    return USAGE_ERROR


def _check(path: str) -> str | None:
    """Return the problem that the daemon reports, or None."""
    try:
        status, body = _get(path)
    except OSError as error:
        return f"the daemon does not answer: {error}"
    if status == 200:  # noqa: PLR2004 - OK
        return None
    text = body.decode(errors="replace").strip()
    return _waiting_for(body) or text or f"it responds with status {status}"


def _waiting_for(body: bytes) -> str | None:
    """Return as text what `/readyz` waits for, or None if the response has another format."""
    import json

    try:
        waiting = json.loads(body)["waiting_for"]
    except (ValueError, KeyError, TypeError):
        return None
    return f"not ready: {', '.join(map(str, waiting))}"


def _check_instance(ref: str) -> str | None:
    """Return why an instance is not ready or does not answer; None when all is well."""
    import json
    from urllib.parse import quote

    try:
        path = quote(ref, safe="", errors="surrogateescape")
        status, body = _get(f"/api/comfyui/instances/{path}")
        answer = json.loads(body)
    except (OSError, ValueError) as error:
        return f"the daemon does not answer: {error}"
    if status != 200:  # noqa: PLR2004 - OK
        return str(answer.get("detail", f"it responds with status {status}"))
    label = f"instance {answer['id']} '{answer['name']}'"
    if not answer["ready"]:
        return f"{label} is not ready: {answer['state']}"
    if answer["health"]["live"] is False:
        return f"{label} does not answer: {answer['health']['failures']} probes failed in a row"
    return None


def _get(path: str) -> tuple[int, bytes]:
    """Return status and body. Raises OSError if no HTTP response arrives in time."""
    address = f"{run_location(os.environ, os.geteuid())}/{SOCKET_NAME}"
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(PATIENCE)
        connection.connect(address)
        connection.sendall(f"GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n".encode())
        answer = b""
        while part := connection.recv(65536):
            answer += part
    head, _, body = answer.partition(b"\r\n\r\n")
    try:
        return int(head.split(b" ", 2)[1]), body
    except (IndexError, ValueError):
        raise ConnectionError("the answer is not HTTP") from None


def _say(descriptor: int, text: str) -> None:
    """Write a line and ignore errors, because the exit code carries the result.

    Unbuffered, so no write can fail when Python exits.
    """
    with suppress(OSError):
        os.write(descriptor, f"{text}\n".encode(errors="backslashreplace"))
