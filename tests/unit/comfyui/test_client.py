"""Which responses of a ComfyUI the client accepts, and the errors that it raises."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

import aiohttp
import pytest

from comfysup.comfyui.client import (
    ComfyClient,
    ComfyError,
    NoAnswerError,
    NotConnectedError,
    NotTakenError,
    new_session,
)
from comfysup.comfyui.queue.prompts import Prompt
from tests.unit.comfyui.queue.server import QueueServer
from tests.unit.comfyui.servers import ComfyServer, FixedServer, RedirectingServer

PROMPT = Prompt(0, "a", b'[0, "a", {}, {}, []]')


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with new_session() as session:
        yield session


@dataclass
class Elsewhere:
    """A valid ComfyUI, and one that redirects to it."""

    good: QueueServer
    server: ComfyServer

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.port}"


@pytest.fixture
async def elsewhere() -> AsyncIterator[Elsewhere]:
    good = QueueServer()
    await good.listen()
    good.add("a", "b")
    server = await RedirectingServer(int(good.url.rpartition(":")[2])).listen()
    yield Elsewhere(good, server)
    await server.close()
    await good.close()


async def test_a_redirect_of_the_websocket_is_not_followed(
    session: aiohttp.ClientSession, elsewhere: Elsewhere
) -> None:
    told: list[int | None] = []

    with pytest.raises(ComfyError, match="redirect"):
        async with ComfyClient(session, elsewhere.url).changes() as changes:
            told += [await anext(changes)]

    assert not told
    assert not elsewhere.good._sockets
    assert session.connector is not None
    assert not session.connector._acquired


QUESTIONS: dict[str, Callable[[ComfyClient], object]] = {
    "system_stats": lambda client: client.system_stats(10),
    "queue_info": lambda client: client.queue_info(10),
    "queue": lambda client: client.queue({}),
    "has_executed": lambda client: client.has_executed("a"),
    "last_failures": lambda client: client.last_failures(3),
    "submit": lambda client: client.submit(PROMPT),
    "takes_credentials": lambda client: client.takes_credentials("X"),
    "delete": lambda client: client.delete(["a"]),
}


@pytest.mark.parametrize("question", QUESTIONS)
async def test_a_redirect_is_an_error_for_every_request(
    session: aiohttp.ClientSession, elsewhere: Elsewhere, question: str
) -> None:
    with pytest.raises(ComfyError, match="redirect") as caught:
        await QUESTIONS[question](ComfyClient(session, elsewhere.url))  # type: ignore[misc]

    assert not isinstance(caught.value, NotTakenError)
    assert not elsewhere.good.looks
    assert not elsewhere.good.posts
    assert elsewhere.good.ids == ["a", "b"]


@pytest.mark.parametrize("error", [OSError(5, "disk"), aiohttp.ClientError(), TimeoutError()])
async def test_an_error_raised_by_the_consumer_of_changes_propagates_unchanged(
    session: aiohttp.ClientSession, elsewhere: Elsewhere, error: Exception
) -> None:
    async def hear() -> None:
        async with ComfyClient(session, elsewhere.good.url).changes() as changes:
            async for _ in changes:
                raise error

    with pytest.raises(type(error)) as caught:
        await hear()

    assert caught.value is error


async def test_a_websocket_that_breaks_raises_the_error_of_the_client(
    session: aiohttp.ClientSession, elsewhere: Elsewhere, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object) -> None:
        raise aiohttp.ClientConnectionResetError

    async with ComfyClient(session, elsewhere.good.url).changes() as changes:
        monkeypatch.setattr(aiohttp.ClientWebSocketResponse, "receive", broken)
        with pytest.raises(NotConnectedError):
            await anext(changes)


async def test_a_request_to_a_closed_port_raises_not_connected(
    session: aiohttp.ClientSession,
) -> None:
    server = await ComfyServer().listen()
    await server.close()

    with pytest.raises(NotConnectedError):
        await ComfyClient(session, f"http://127.0.0.1:{server.port}").queue({})


async def test_an_invalid_response_is_not_a_connection_error(
    session: aiohttp.ClientSession,
) -> None:
    """Even if its text mentions connections."""
    server = await FixedServer(b"Connect: ConnectionError\r\n\r\n").listen()

    with pytest.raises(NoAnswerError) as caught:
        await ComfyClient(session, f"http://127.0.0.1:{server.port}").queue({})
    await server.close()

    assert "Connect" in str(caught.value)
    assert not isinstance(caught.value, NotConnectedError)
