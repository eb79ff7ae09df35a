"""The HTTP and websocket client of ComfyUI; no other module sends requests to it.

ComfyError             the request failed, or the response is not ComfyUI's
├── NoAnswerError      no response arrived
│   └── NotConnectedError  the connection was refused, or ended too early
├── TooLargeError      the response exceeds the limit
└── NotTakenError      ComfyUI refused the prompt
"""

import asyncio
import json
import secrets
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from types import SimpleNamespace
from typing import NoReturn, TypeAlias, TypeVar
from urllib.parse import quote

import aiohttp

from comfysup.comfyui.answers import (
    failure_in,
    object_in,
    queue_remaining,
    refusal_in,
    takes_credentials,
)
from comfysup.comfyui.queue.prompts import (
    NO_QUEUE,
    Key,
    Prompt,
    Snapshot,
    is_number,
    parse_queue,
    submission_body,
)
from comfysup.supervision.tasks import InThread

T = TypeVar("T")
Session: TypeAlias = aiohttp.ClientSession  # noqa: TID251 - here, and nowhere else

PATIENCE = 10.0
"""Seconds for one response. A model being loaded can delay it; the request is then repeated."""
MAX_QUEUE_BYTES = 64 << 20
"""Maximum bytes read of /queue: twice the maximum that is kept."""
MAX_FACTS_BYTES = 1 << 20
"""Maximum bytes of /system_stats and GET /prompt: a few hundred, plus the arguments."""
MAX_ANSWER_BYTES = 16 << 20
"""The largest of any other answer, and the largest message of the websocket."""
MAX_FAILURES_BYTES = 4 << 20
"""The largest history of a few prompts that is read."""
MESSAGES_AT_ONCE = 50
"""Messages of the websocket after which everything else gets its turn."""
MESSAGES_PAUSE = 0.01
"""Seconds of that turn, so that no more than 5,000 messages are read in a second: a fraction of a
core. More wait in the socket, and ComfyUI with them."""
_INLINE_BYTES = 64 << 10
"""Maximum bytes parsed in the event loop, in less than a millisecond."""


class ComfyError(Exception):
    """A request to ComfyUI failed. The text gives the reason."""


class NoAnswerError(ComfyError):
    """Nothing came in time, or the connection broke; `number` is the errno, None for a timeout."""

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error) if type(error) is OSError else repr(error))
        cause = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
        self.number = cause.errno if isinstance(cause, OSError) else None


class NotConnectedError(NoAnswerError):
    """The connection was refused, or it ended before the response did."""


class TooLargeError(ComfyError):
    """The answer has more bytes than are read; `status` is its status."""

    def __init__(self, status: int, limit: int) -> None:
        """Say how many bytes are read."""
        super().__init__(f"a response of more than {limit >> 20} MiB")
        self.status = status


class NotTakenError(ComfyError):
    """ComfyUI refused a prompt. The text is its reason."""


def new_session() -> Session:
    """Return a session for all ComfyUIs: one connection per request, without a limit.

    It uses no proxy, stores no cookie, follows no redirect and sets no time limit of its own.
    """
    tracing = aiohttp.TraceConfig()
    tracing.on_request_redirect.append(_refuse_redirect)
    return Session(
        trace_configs=[tracing],
        connector=aiohttp.TCPConnector(limit=0, force_close=True),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"Accept-Encoding": "identity", "User-Agent": "comfysup"},
        auto_decompress=False,  # no compression is requested
        trust_env=False,
    )


async def _refuse_redirect(
    _session: Session, _context: SimpleNamespace, redirect: aiohttp.TraceRequestRedirectParams
) -> NoReturn:
    """Refuse a redirect, because a websocket handshake cannot be sent without following."""
    response = redirect.response
    response.close()
    raise aiohttp.WSServerHandshakeError(
        response.request_info, (), status=response.status, message="a redirect is not followed"
    )


async def _in_place(work: Callable[[], T]) -> T:
    return work()


@dataclass(frozen=True, slots=True)
class ComfyClient:
    """A client of the ComfyUI at `url`.

    The session of `new_session` is shared; its owner closes it.

    `in_thread` parses large responses. Each request has its own connection.
    """

    session: Session
    url: str
    in_thread: InThread = _in_place

    async def system_stats(self, patience: float) -> object:
        """Return the JSON of `/system_stats`, None for an answer that is none; in `patience` s."""
        return await self._facts("/system_stats", patience)

    async def queue_info(self, patience: float) -> object:
        """Return the JSON of `GET /prompt`, its cheapest answer, likewise."""
        return await self._facts("/prompt", patience)

    async def queue(self, known: Mapping[Key, Prompt]) -> tuple[Snapshot, int]:
        """Return the queue and the response's size in bytes; `known` as in `parse_queue`."""
        status, body = await self._ask("GET", "/queue", limit=MAX_QUEUE_BYTES)
        if status != HTTPStatus.OK:
            raise ComfyError(f"{NO_QUEUE}: status {status}")
        try:
            return await self._parsed(body, lambda: parse_queue(body, known)), len(body)
        except ValueError as error:
            raise ComfyError(str(error)) from error

    async def has_executed(self, prompt_id: str) -> bool:
        """Return whether ComfyUI has executed that prompt; its history holds 10,000.

        The response is an empty object if not, so a response that is too large also means yes.
        Raises `ComfyError` when the response is no history.
        """
        try:
            status, body = await self._ask(
                "GET", f"/history/{_quoted(prompt_id)}", limit=_INLINE_BYTES
            )
        except TooLargeError as error:
            if error.status == HTTPStatus.OK:
                return True
            raise
        if HTTPStatus.BAD_REQUEST <= status < HTTPStatus.INTERNAL_SERVER_ERROR:
            return False  # an id that no path can name
        answer = object_in(body)
        if status != HTTPStatus.OK or answer is None:
            raise ComfyError(f"GET /history did not return a history: status {status}")
        return prompt_id in answer

    async def last_failures(self, number: int) -> list[str]:
        """Return the errors of the last executed prompts' nodes, newest last.

        The text is empty for a prompt that succeeded or was interrupted. Returns nothing if the
        response is too large.
        """
        path = f"/history?max_items={number}"
        try:
            _, body = await self._ask("GET", path, limit=MAX_FAILURES_BYTES)
        except TooLargeError:
            return []
        history = await self._parsed(body, lambda: object_in(body))
        return [failure_in(entry) for entry in (history or {}).values()]

    async def submit(self, prompt: Prompt) -> float:
        """Queue a prompt behind all others and return its number. Also raises `NotTakenError`.

        Raises `ComfyError` when the answer neither names a prompt nor refuses it: the prompt may
        have been accepted.
        """
        try:
            submission = submission_body(prompt)
        except ValueError as error:
            raise NotTakenError(str(error)) from error
        status, body = await self._ask("POST", "/prompt", submission)
        answer = object_in(body) or {}
        if status >= HTTPStatus.BAD_REQUEST:
            raise NotTakenError(refusal_in(answer, status))
        if status != HTTPStatus.OK or not isinstance(answer.get("prompt_id"), str):
            raise ComfyError(f"POST /prompt did not return a prompt_id: status {status}")
        number = answer.get("number")
        return number if is_number(number) else prompt.number

    async def takes_credentials(self, class_type: str) -> bool:
        """Return whether nodes of that class receive the keys of a Comfy account.

        Requests one class only, because newer versions scan the disk for all classes. Returns False
        if the response is too large.
        """
        try:
            _, body = await self._ask("GET", f"/object_info/{_quoted(class_type)}")
        except TooLargeError:
            return False
        classes = await self._parsed(body, lambda: object_in(body))
        return takes_credentials((classes or {}).get(class_type))

    async def delete(self, prompt_ids: Iterable[str]) -> None:
        """Remove waiting prompts from the queue. Other prompts are ignored."""
        status, _ = await self._ask("POST", "/queue", {"delete": list(prompt_ids)})
        if status != HTTPStatus.OK:
            raise ComfyError(f"POST /queue takes nothing out: status {status}")

    @asynccontextmanager
    async def changes(self) -> AsyncIterator[AsyncIterator[int | None]]:
        """Connect, and yield how many prompts run or wait: at once, and at every change.

        Yields None for any other message, for example the progress of a prompt without a client,
        which ComfyUI sends to all clients. The client id is unique, because ComfyUI replaces a
        client by a second one with the same id.
        """
        client = f"comfysup-{secrets.token_hex(8)}"
        with _connection_errors():
            async with asyncio.timeout(PATIENCE):
                socket = await self.session.ws_connect(
                    f"{self.url}/ws?clientId={client}",
                    max_msg_size=MAX_ANSWER_BYTES,
                    autoping=False,  # many pings in a row would be answered in one turn of the loop
                    ssl=False,
                )
        try:
            yield _statuses(socket)
        finally:
            await socket.close()

    async def _facts(self, path: str, patience: float) -> object:
        status, body = await self._ask("GET", path, limit=MAX_FACTS_BYTES, patience=patience)
        if status != HTTPStatus.OK:
            return None
        try:
            return json.loads(body)
        except (ValueError, RecursionError):
            return None

    async def _parsed(self, body: bytes, parse: Callable[[], T]) -> T:
        """Return what `parse` makes of a body, in a thread if it is large."""
        if len(body) <= _INLINE_BYTES:
            return parse()
        try:
            return await self.in_thread(parse)
        except OSError as error:  # all threads are busy
            raise NoAnswerError(error) from error

    async def _ask(
        self,
        method: str,
        path: str,
        body: object = None,
        limit: int = MAX_ANSWER_BYTES,
        patience: float = PATIENCE,
    ) -> tuple[int, bytes]:
        with _connection_errors():
            async with (
                asyncio.timeout(patience),
                self.session.request(
                    method, f"{self.url}{path}", json=body, allow_redirects=False, ssl=False
                ) as response,
            ):
                status = response.status
                if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
                    raise ComfyError(f"{method} {path} returned a redirect: status {status}")
                answer = await _read(response.content, limit)
                if answer is None:
                    raise TooLargeError(status, limit)
                return status, answer


@contextmanager
def _connection_errors() -> Iterator[None]:
    """Raise the errors of a connection as those of this module."""
    try:
        yield
    except aiohttp.WSServerHandshakeError as error:
        raise ComfyError(repr(error)) from error
    except (aiohttp.ClientError, OSError) as error:
        cause = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
        if isinstance(cause, ConnectionError | aiohttp.ClientConnectionError):
            raise NotConnectedError(error) from error
        raise NoAnswerError(error) from error


def _quoted(text: str) -> str:
    """Return a text as one segment of a path.

    An unpaired surrogate, valid in JSON but not in UTF-8, becomes a question mark; it matches no
    path.
    """
    return quote(text, safe="", errors="replace")


async def _statuses(socket: aiohttp.ClientWebSocketResponse) -> AsyncIterator[int | None]:
    read = 0
    with _connection_errors():  # no error of who reads them comes through here
        async for message in socket:
            read += 1
            if read % MESSAGES_AT_ONCE == 0:
                await asyncio.sleep(MESSAGES_PAUSE)
            if message.type in (aiohttp.WSMsgType.PING, aiohttp.WSMsgType.PONG):
                if message.type is aiohttp.WSMsgType.PING:
                    await socket.pong(message.data)
                continue
            if message.type is aiohttp.WSMsgType.TEXT and '"status"' in message.data:
                yield queue_remaining(message.data)
            else:
                yield None


async def _read(content: aiohttp.StreamReader, limit: int) -> bytes | None:
    """Return the content, or None if it has more than `limit` bytes."""
    body = bytearray()
    async for chunk in content.iter_any():
        body += chunk
        if len(body) > limit:
            return None
    return bytes(body)
