"""The HTTP API as the command line uses it: over the run directory's socket, without a token."""

import http.client
import json
import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from typing import Any
from urllib.parse import quote, urlencode

from comfysup.system.run_location import SOCKET_NAME, run_location

API = "/api/comfyui"
CHUNK = 65_536


class NotReachableError(Exception):
    """No daemon answers; the text says where it was looked for and what to do."""


class ApiError(Exception):
    """The daemon refused or failed; the text is its own sentence, `code` a word for programs."""

    def __init__(self, status: int, message: str, code: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


class Client:
    """One daemon. Each question has a connection of its own, so that threads can ask too."""

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        self._socket = f"{run_location(environ, os.geteuid())}/{SOCKET_NAME}"

    def get(self, path: str, **query: object) -> Any:  # noqa: ANN401 - whatever JSON says
        """Return the JSON of an answer; raises `NotReachableError` and `ApiError`."""
        return self._ask("GET", path, query)

    def post(self, path: str, body: object = None, **query: object) -> Any:  # noqa: ANN401 - likewise
        """Post JSON and return that of the answer; raises as `get` does."""
        return self._ask("POST", path, query, body)

    @contextmanager
    def stream(self, path: str, **query: object) -> Iterator[Iterator[bytes]]:
        """Give the pieces of an answer as they come; raises as `get` does.

        `NotReachableError` in the midst of them says that the daemon died.
        """
        with self._answer("GET", path, query) as response:
            if response.status >= http.client.BAD_REQUEST:
                _json_of(response.status, self._read(response))
            yield iter(lambda: self._read(response, CHUNK), b"")

    def _ask(self, method: str, path: str, query: Mapping[str, object], body: object = None) -> Any:  # noqa: ANN401 - likewise
        with self._answer(method, path, query, body) as response:
            return _json_of(response.status, self._read(response))

    @contextmanager
    def _answer(
        self, method: str, path: str, query: Mapping[str, object], body: object = None
    ) -> Iterator[http.client.HTTPResponse]:
        given = {name: value for name, value in query.items() if value is not None}
        target = f"{path}?{urlencode(given)}" if given else path
        headers = {"Content-Type": "application/json"} if body is not None else {}
        payload = json.dumps(body) if body is not None else None
        with closing(http.client.HTTPConnection("localhost")) as connection:
            with self._reaching():
                connection.sock = socket.socket(socket.AF_UNIX)
                connection.sock.connect(self._socket)
                connection.request(method, target, payload, headers)
                response = connection.getresponse()
            yield response

    def _read(self, response: http.client.HTTPResponse, size: int | None = None) -> bytes:
        """Read all, or what there is of it."""
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
                reason = "there is no socket: it does not run, or has just been started"
            case ConnectionRefusedError():
                reason = "nobody listens there any more"
            case PermissionError():
                reason = "it belongs to another user"
            case OSError():
                reason = error.strerror or str(error)
            case _:
                reason = "it ended while it was answering"
        return (
            f"cannot reach the daemon at {self._socket}: {reason}. In a container `docker logs` "
            "says more; elsewhere start it with `comfysup serve`, or set COMFYSUP_RUN_DIR as it "
            "was set for the daemon"
        )


def instance_path(ref: str, verb: str = "") -> str:
    """Return the route of an instance, or of a verb of it."""
    path = f"{API}/instances/{quote(ref, safe='')}"
    return f"{path}/{verb}" if verb else path


def _json_of(status: int, text: bytes) -> Any:  # noqa: ANN401 - likewise
    answer = json.loads(text)
    if status >= http.client.BAD_REQUEST and "detail" in answer:
        detail = answer["detail"]
        message = detail if isinstance(detail, str) else "\n  ".join(map(_mistake, detail))
        raise ApiError(status, message, answer.get("code", ""))
    return answer


def _mistake(each: Mapping[str, Any]) -> str:
    """One of a 422, with its place as people write it; texts about files tell it themselves."""
    kind, *place = each["loc"] or ["body"]
    where = ".".join(map(str, place)) if kind in {"body", "query"} else ""
    return f"{where}: {each['msg']}" if where else str(each["msg"])
