"""The HTTP API as the command line uses it: over the run directory's socket, without a token."""

import http.client
import json
import os
import select
import socket
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

from typing_extensions import Buffer, override

from comfysup.config.run_location import SOCKET_NAME, run_location
from comfysup.model.printable import printable, printable_values

API = "/api/comfyui"
CHUNK = 65_536

SILENCE = 3.0
"""Seconds without a byte of a response after which the daemon's liveness is checked."""

PATIENCE = 7.0
"""Seconds for the daemon to accept a connection or to answer the liveness check."""


class NotReachableError(Exception):
    """No daemon answers. The text gives the address that was tried and the remedy."""

    @property
    def body(self) -> dict[str, Any]:
        """The error as JSON, in the shape of the API's errors."""
        return {"detail": str(self), "code": "not_reachable"}


class ApiError(Exception):
    """The daemon refused or failed; the text is its own sentence, `code` a word for programs.

    `body` is the answer itself.
    """

    def __init__(
        self, status: int, message: str, code: str, body: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.body = dict(body or {"detail": message, "code": code})


class Connection(socket.socket):
    """A connection that waits for a response as long as the daemon is alive.

    Raises `TimeoutError` when the daemon answers no caller: stopped (SIGSTOP) or hung.
    """

    def __init__(self, address: str) -> None:
        super().__init__(socket.AF_UNIX)
        self._address = address
        self.settimeout(PATIENCE)
        try:
            self.connect(address)
        except OSError:
            self.close()
            raise

    @override
    def recv_into(self, buffer: Buffer, nbytes: int = 0, flags: int = 0) -> int:
        incoming = select.poll()
        incoming.register(self, select.POLLIN)
        while not incoming.poll(SILENCE * 1000):
            self._check_daemon()
        return super().recv_into(buffer, nbytes, flags)

    def _check_daemon(self) -> None:
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(PATIENCE)
            probe.connect(self._address)
            probe.sendall(b"GET /livez HTTP/1.0\r\nHost: localhost\r\n\r\n")
            probe.recv(1)


@dataclass(frozen=True, slots=True)
class Stream:
    """An answer that comes in pieces."""

    headers: Mapping[str, str]
    pieces: Iterator[bytes]

    def __iter__(self) -> Iterator[bytes]:
        return self.pieces


class Client:
    """A client of one daemon. Each request has its own connection, so threads can share it.

    Texts in responses are made printable; `exact` leaves them unchanged.
    """

    def __init__(self, environ: Mapping[str, str] = os.environ, *, exact: bool = False) -> None:
        self._exact = exact
        self._socket = f"{run_location(environ, os.geteuid())}/{SOCKET_NAME}"

    def get(self, path: str, **query: object) -> Any:  # noqa: ANN401 - any JSON
        """Return the JSON of a response. Raises `NotReachableError` and `ApiError`."""
        return self._ask("GET", path, query)

    def post(self, path: str, body: object = None, **query: object) -> Any:  # noqa: ANN401 - likewise
        """Post JSON and return that of the answer; raises as `get` does."""
        return self._ask("POST", path, query, body)

    def delete(self, path: str) -> Any:  # noqa: ANN401 - likewise
        """Delete the resource and return the JSON of the response. Raises as `get` does."""
        return self._ask("DELETE", path, {})

    @contextmanager
    def stream(
        self, path: str, headers: Mapping[str, str] | None = None, **query: object
    ) -> Iterator["Stream"]:
        """Yield the pieces of a response as they arrive. Raises as `get` does.

        Raises `NotReachableError` in mid-stream if the daemon dies.
        """
        with self._answer("GET", path, query, headers=headers) as response:
            if response.status >= http.client.BAD_REQUEST:
                _json_of(response.status, self._read(response))
            pieces = iter(lambda: self._read(response, CHUNK), b"")
            yield Stream(dict(response.getheaders()), pieces)

    def _ask(self, method: str, path: str, query: Mapping[str, object], body: object = None) -> Any:  # noqa: ANN401 - likewise
        with self._answer(method, path, query, body) as response:
            answer = _json_of(response.status, self._read(response))
        return answer if self._exact else printable_values(answer)

    @contextmanager
    def _answer(
        self,
        method: str,
        path: str,
        query: Mapping[str, object],
        body: object = None,
        headers: Mapping[str, str] | None = None,
    ) -> Iterator[http.client.HTTPResponse]:
        given = {name: value for name, value in query.items() if value is not None}
        target = f"{path}?{urlencode(given)}" if given else path
        content = {"Content-Type": "application/json"} if body is not None else {}
        payload = json.dumps(body) if body is not None else None
        with closing(http.client.HTTPConnection("localhost")) as connection:
            with self._reaching():
                connection.sock = Connection(self._socket)
                connection.request(method, target, payload, {**content, **(headers or {})})
                response = connection.getresponse()
            yield response

    def _read(self, response: http.client.HTTPResponse, size: int | None = None) -> bytes:
        """Read up to `size` bytes, or all if None."""
        with self._reaching():
            return response.read() if size is None else response.read1(size)

    @contextmanager
    def _reaching(self) -> Iterator[None]:
        try:
            yield
        except (OSError, http.client.HTTPException) as error:
            raise NotReachableError(self._absence(error)) from error

    def _absence(self, error: OSError | http.client.HTTPException) -> str:
        match error:
            case FileNotFoundError():
                reason = "there is no socket: the daemon is not running, or is still starting"
            case ConnectionRefusedError():
                reason = "nothing accepts connections there: the daemon is not running"
            case PermissionError():
                reason = "the socket belongs to another user"
            case TimeoutError():
                return (
                    f"the daemon at {self._socket} does not answer: it is stopped (SIGSTOP), "
                    "hangs, or has no file descriptors left (see its log). A request that it has "
                    "received may still complete.\n"
                    "  `kill -CONT` continues a stopped daemon; instances outlive its restart"
                )
            case OSError():
                reason = error.strerror or str(error)
            case _:
                reason = "the daemon exited before it answered"
        return (
            f"cannot reach the daemon at {self._socket}: {reason}. In a container see "
            "`docker logs`; elsewhere start it with `comfysup serve`, or set COMFYSUP_RUN_DIR to "
            "the daemon's value"
        )


def instance_path(ref: str, verb: str = "") -> str:
    """Return the route of an instance, or of a verb of it; raises as `quoted` does."""
    path = f"{API}/instances/{quoted(ref)}"
    return f"{path}/{verb}" if verb else path


def quoted(word: str) -> str:
    """Return a word as one URL path segment. Raises `ApiError` unless it is valid UTF-8."""
    try:
        return quote(word, safe="")
    except UnicodeEncodeError:
        reason = f"{word!a} is not valid UTF-8, so no name matches it"
        raise ApiError(http.client.NOT_FOUND, reason, "invalid_request") from None


def _json_of(status: int, text: bytes) -> Any:  # noqa: ANN401 - likewise
    answer = json.loads(text)
    if status >= http.client.BAD_REQUEST and "detail" in answer:
        detail = answer["detail"]
        message = detail if isinstance(detail, str) else "\n  ".join(map(_mistake, detail))
        raise ApiError(status, printable(message), answer.get("code", ""), answer)
    return answer


def _mistake(each: Mapping[str, Any]) -> str:
    """Return one error of a 422 with its location; errors of files already contain theirs."""
    kind, *place = each["loc"] or ["body"]
    where = ".".join(map(str, place)) if kind in {"body", "query"} else ""
    return f"{where}: {each['msg']}" if where else str(each["msg"])
