"""Prompts submitted by clients of an instance, and their view of the queue."""

from pathlib import Path
from typing import Any

import aiohttp

from tests.scenarios.waiting import until_async

Graph = dict[str, dict[str, Any]]


def node(class_type: str, **inputs: object) -> Graph:
    return {"1": {"class_type": class_type, "inputs": inputs}}


def sleep(seconds: float) -> Graph:
    return node("StandInSleep", seconds=seconds)


def wait_for(path: Path) -> Graph:
    """A prompt that runs until that path exists."""
    return node("StandInWait", path=str(path))


def text(name: str) -> Graph:
    """A prompt that writes a file, so that a test can count its runs."""
    return node("SaveText", text=name, filename_prefix=name)


class Comfy:
    """One instance as its clients see it."""

    def __init__(self, port: int) -> None:
        self._url = f"http://127.0.0.1:{port}"

    async def submit(self, graph: Graph, prompt_id: str, **more: object) -> None:
        body = {"prompt": graph, "prompt_id": prompt_id, **more}
        async with (
            aiohttp.ClientSession(self._url) as client,
            client.post("/prompt", json=body) as answer,
        ):
            assert answer.status == 200, await answer.text()

    async def get(self, path: str) -> Any:  # noqa: ANN401 - whatever JSON can say
        async with aiohttp.ClientSession(self._url) as client, client.get(path) as answer:
            return await answer.json()

    async def queue(self) -> tuple[list[str], list[str]]:
        """Return the ids of running and waiting prompts in the order of execution."""
        entries = await self.entries()
        return [each[1] for each in entries[0]], [each[1] for each in entries[1]]

    async def entries(self) -> tuple[list[list[Any]], list[list[Any]]]:
        found = await self.get("/queue")
        waiting = sorted(found["queue_pending"], key=lambda entry: (entry[0], entry[1]))
        return found["queue_running"], waiting

    async def runs(self, prompt_id: str) -> None:
        """Wait until the prompt runs."""

        async def is_so() -> bool:
            return (await self.queue())[0] == [prompt_id]

        await until_async(is_so)

    async def has_run(self, prompt_id: str) -> dict[str, Any]:
        """Wait for the end of a prompt, and return its entry in the history."""
        found: dict[str, Any] = {}

        async def is_so() -> bool:
            found.update(await self.get(f"/history/{prompt_id}"))
            return prompt_id in found

        await until_async(is_so)
        history: dict[str, Any] = found[prompt_id]
        return history
