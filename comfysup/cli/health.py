"""`comfysup health`: is the daemon, or an instance, well? Standard library only.

It speaks HTTP/1.0 over the run directory's socket by hand: `http.client` alone takes as long to
import as all of this takes to run.
"""

import os
import socket
import sys
from collections.abc import Sequence

from comfysup.system.run_location import SOCKET_NAME, run_location

HEALTHY = 0
UNHEALTHY = 1
USAGE_ERROR = 2
PATIENCE = 5.0
"""Seconds that the daemon gets to answer."""

USAGE = """usage: comfysup health [--ready] [--instance REF]

Exit with 0 when the daemon works, with 1 when it does not.
  --ready          ... and all instances that should run are ready
  --instance REF   ... and that instance, by id or name, is ready"""


def main(arguments: Sequence[str]) -> int:
    """Print one line and return the exit code."""
    match list(arguments):
        case []:
            return _check("/livez")
        case ["--ready"]:
            return _check("/readyz")
        case ["--instance", ref] if ref:
            return _check_instance(ref)
        case ["--help" | "-h"]:
            print(USAGE)
            return HEALTHY
        case _:
            print(USAGE, file=sys.stderr)
            return USAGE_ERROR


def _check(path: str) -> int:
    try:
        status, body = _get(path)
    except OSError as error:
        return _unhealthy(f"the daemon does not answer: {error}")
    if status == 200:  # noqa: PLR2004 - OK
        print("healthy")
        return HEALTHY
    return _unhealthy(body.decode(errors="replace").strip() or f"it answers {status}")


def _check_instance(ref: str) -> int:
    import json
    from urllib.parse import quote

    try:
        status, body = _get(f"/api/comfyui/instances/{quote(ref, safe='')}")
        answer = json.loads(body)
    except (OSError, ValueError) as error:
        return _unhealthy(f"the daemon does not answer: {error}")
    if status != 200:  # noqa: PLR2004 - OK
        return _unhealthy(answer.get("detail", f"it answers {status}"))
    if answer["ready"]:
        print("healthy")
        return HEALTHY
    return _unhealthy(f"instance {answer['id']} '{answer['name']}' is {answer['state']}")


def _get(path: str) -> tuple[int, bytes]:
    """Return the status and the body; raises OSError when nobody answers HTTP in time."""
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
        raise ConnectionError("what answers is not HTTP") from None


def _unhealthy(reason: str) -> int:
    print(f"unhealthy: {reason}", file=sys.stderr)
    return UNHEALTHY
