"""What is asked of a ComfyUI about its queue, over HTTP and its websocket.

QueueError             it could not be asked, or its answer is none of ComfyUI's
└── NotTakenError      it answered, and will not run that prompt
"""

import asyncio
import json
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Protocol, TypeVar
from urllib.parse import quote

import aiohttp

from comfysup.comfyui.prompts import Key, Prompt, Snapshot, hand_in_body, parse_queue

PATIENCE = 10.0
"""Seconds for one answer; a model that loads may hold it up, and then it is asked for again."""
MAX_QUEUE_BYTES = 64 << 20
"""The largest answer of /queue that is read: twice what is kept of it."""
MAX_ANSWER_BYTES = 16 << 20
"""The largest of any other answer, and the largest message of the websocket."""
_INLINE_BYTES = 64 << 10
"""What is parsed in less than a millisecond, and so where it arrives."""

T = TypeVar("T")


class InThread(Protocol):
    """Has something done in a thread."""

    def __call__(self, work: Callable[[], T], /) -> Awaitable[T]: ...


class QueueError(Exception):
    """The queue could not be asked; the text says why."""


class NotTakenError(QueueError):
    """ComfyUI will not run a prompt; the text is what it said."""


@dataclass(frozen=True, slots=True)
class QueueApi:
    """The queue of the ComfyUI at `url`; the session is shared, and its owner closes it."""

    session: aiohttp.ClientSession
    url: str
    in_thread: InThread

    async def queue(self, known: Mapping[Key, Prompt]) -> Snapshot:
        """Return what runs and what waits; see `parse_queue` for `known`."""
        status, body = await self._ask("GET", "/queue", limit=MAX_QUEUE_BYTES)
        if status != HTTPStatus.OK:
            raise QueueError(f"status {status}")
        try:
            if len(body) <= _INLINE_BYTES:
                return parse_queue(body, known)
            return await self.in_thread(lambda: parse_queue(body, known))
        except ValueError as error:
            raise QueueError(str(error)) from error

    async def has_executed(self, prompt_id: str) -> bool:
        """Say whether it has run that prompt; it remembers 10,000."""
        status, body = await self._ask("GET", f"/history/{quote(prompt_id, safe='')}")
        return status == HTTPStatus.OK and prompt_id in _parse(body)

    async def hand_in(self, prompt: Prompt) -> float:
        """Have a prompt run behind all others; return its number. Raises `NotTakenError` too."""
        try:
            posted = hand_in_body(prompt)
        except ValueError as error:
            raise NotTakenError(str(error)) from error
        status, body = await self._ask("POST", "/prompt", posted)
        answer = _parse(body)
        if status == HTTPStatus.OK:
            number = answer.get("number")
            return number if isinstance(number, int | float) else prompt.number
        raise NotTakenError(_said(status, answer))

    async def delete(self, prompt_ids: Iterable[str]) -> None:
        """Take prompts out of what waits; those that do not wait are left alone."""
        status, _ = await self._ask("POST", "/queue", {"delete": list(prompt_ids)})
        if status != HTTPStatus.OK:
            raise QueueError(f"status {status}")

    @asynccontextmanager
    async def changes(self) -> AsyncIterator[AsyncIterator[int]]:
        """Connect, and yield how many prompts run or wait: at once, and at every change.

        It has an id of its own: ComfyUI lets a second client of the same id replace the first.
        """
        client = f"comfysup-{secrets.token_hex(8)}"
        try:
            async with (
                asyncio.timeout(PATIENCE) as connecting,
                self.session.ws_connect(
                    f"{self.url}/ws?clientId={client}", max_msg_size=MAX_ANSWER_BYTES, ssl=False
                ) as socket,
            ):
                connecting.reschedule(None)
                yield _statuses(socket)
        except (aiohttp.ClientError, OSError) as error:
            raise QueueError(repr(error)) from error

    async def _ask(
        self, method: str, path: str, body: object = None, limit: int = MAX_ANSWER_BYTES
    ) -> tuple[int, bytes]:
        try:
            async with (
                asyncio.timeout(PATIENCE),
                self.session.request(
                    method, f"{self.url}{path}", json=body, allow_redirects=False, ssl=False
                ) as response,
            ):
                return response.status, await _read(response.content, limit)
        except (aiohttp.ClientError, OSError) as error:
            raise QueueError(repr(error)) from error


async def _statuses(socket: aiohttp.ClientWebSocketResponse) -> AsyncIterator[int]:
    async for message in socket:
        if message.type is aiohttp.WSMsgType.TEXT and '"status"' in message.data:
            remaining = _remaining(message.data)
            if remaining is not None:
                yield remaining


def _remaining(text: str) -> int | None:
    try:
        match json.loads(text):
            case {"type": "status", "data": {"status": {"exec_info": {"queue_remaining": int(n)}}}}:
                return n
            case _:
                return None
    except (ValueError, RecursionError):
        return None


async def _read(content: aiohttp.StreamReader, limit: int) -> bytes:
    body = bytearray()
    async for chunk in content.iter_any():
        body += chunk
        if len(body) > limit:
            raise QueueError(f"an answer of more than {limit >> 20} MiB")
    return bytes(body)


def _parse(body: bytes) -> Mapping[str, Any]:
    """Return the object that the JSON shows; an empty one for anything else."""
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return answer if isinstance(answer, dict) else {}


def _said(status: int, answer: Mapping[str, Any]) -> str:
    match answer.get("error"):
        case {"message": str(message), "details": str(details)} if details:
            return f"{message}: {details}"[:300]
        case {"message": str(message)}:
            return message[:300]
        case _:
            return f"it answered with status {status}"
