"""The HTTP API as tests call it."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from tests.scenarios.waiting import HANG, until_async

API = "/api/comfyui"


@dataclass(frozen=True, slots=True)
class Answer:
    """A response. `body` is the parsed JSON."""

    status: int
    body: Any

    @property
    def detail(self) -> str:
        """The text of an error."""
        detail: str = self.body["detail"]
        return detail


class Client:
    """A client of one daemon: over its unix socket, where everything is allowed, or over TCP."""

    def __init__(self, socket: Path, port: int) -> None:
        self._url = f"http://127.0.0.1:{port}"
        timeout = aiohttp.ClientTimeout(total=HANG)
        self._local = aiohttp.ClientSession(
            connector=aiohttp.UnixConnector(str(socket), limit=0), timeout=timeout
        )
        self._remote = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0), timeout=timeout
        )

    async def ask(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        tcp: bool = False,
        **query: Any,  # noqa: ANN401 - whatever a query holds
    ) -> Answer:
        session, base = (self._remote, self._url) if tcp else (self._local, "http://localhost")
        data = None if body is None else json.dumps(body)
        headers = {} if body is None else {"Content-Type": "application/json"}
        async with session.request(
            method, base + path, data=data, params=query, headers=headers
        ) as response:
            return Answer(response.status, await response.json())

    async def close(self) -> None:
        await self._local.close()
        await self._remote.close()

    # ---- what tests say most often

    async def start(
        self,
        number: int,
        port: int,
        *,
        wait: dict[str, Any] | None = None,
        **fields: object,
    ) -> Answer:
        """Start one instance; `wait` is the query, `fields` are further fields of the body."""
        body = {"id": number, "port": port, "name": f"instance_{number}", **fields}
        return await self.ask("POST", f"{API}/start-single", body, **(wait or {}))

    async def act(self, ref: object, verb: str, **query: Any) -> Answer:  # noqa: ANN401 - likewise
        """POST to an action of an instance: start, stop, restart."""
        return await self.ask("POST", f"{API}/instances/{ref}/{verb}", **query)

    async def show(self, ref: object) -> dict[str, Any]:
        answer = await self.ask("GET", f"{API}/instances/{ref}")
        assert answer.status == 200, answer
        shown: dict[str, Any] = answer.body
        return shown

    async def show_all(self) -> list[dict[str, Any]]:
        answer = await self.ask("GET", f"{API}/instances")
        shown: list[dict[str, Any]] = answer.body["instances"]
        return shown

    async def troubles(self) -> list[str]:
        """Return the `troubles` of the daemon, checked in both forms."""
        status = await self.ask("GET", f"{API}/status")
        shown: list[str] = status.body["troubles"]
        assert all(f"comfysup {each}\n" in status.body["output"] for each in shown)
        return shown

    async def until_well(self) -> None:
        """Wait until the daemon has no troubles."""

        async def is_well() -> bool:
            return not await self.troubles()

        await until_async(is_well)

    async def until(self, ref: object, within: float = HANG, **wanted: object) -> dict[str, Any]:
        """Wait until the instance exists with these values, and return it."""
        shown: dict[str, Any] = {}

        async def is_so() -> bool:
            answer = await self.ask("GET", f"{API}/instances/{ref}")
            if answer.status == 404:  # not yet
                return False
            assert answer.status == 200, answer
            shown.update(answer.body)
            return all(shown[name] == value for name, value in wanted.items())

        try:
            await until_async(is_so, within)
        except AssertionError as error:
            raise AssertionError(f"never {wanted}, but {shown}") from error
        return shown
