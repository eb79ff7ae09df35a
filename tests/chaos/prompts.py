"""An instance that is always wanted, and what becomes of the prompts that it accepts.

It is a stand-in that does nothing wrong by itself: all its ends are the suite's doing.
"""

import asyncio
import os
import signal
from contextlib import suppress
from datetime import datetime
from random import Random
from uuid import UUID

import aiohttp

from comfysup.demo.workspace import build_environment
from tests.scenarios.harness import Daemon
from tests.scenarios.prompts import Comfy, sleep, text
from tests.scenarios.waiting import NEVER, until_async

NUMBER = 9
ENVIRONMENT = "prompts"


class Prompts:
    """Submit prompts, kill and restart the instance, and record the result."""

    def __init__(self, daemon: Daemon) -> None:
        self.accepted: dict[str, int] = {}
        """Each with the generation that had accepted it."""
        self.known: set[str] = set()
        """Those that the daemon has written down: it answers for them from then on."""
        self.port = daemon.ports.reserve()
        self._daemon = daemon
        self._comfy = Comfy(self.port)
        self._environment = build_environment(daemon.workspace, ENVIRONMENT)
        self._generation = 0

    async def begin(self) -> None:
        answer = await self._daemon.api.start(
            NUMBER, self.port, environment=ENVIRONMENT, startup_timeout=NEVER
        )
        assert answer.status == 200, answer

    async def command(self, chance: Random) -> str:
        self.look()
        did = chance.random()
        shown = await self._daemon.api.show(NUMBER)
        self._generation = shown["generation"]
        if did < 0.05:
            if shown["pid"]:
                with suppress(ProcessLookupError):
                    os.kill(shown["pid"], signal.SIGKILL)
            return f"kill {shown['pid']}"
        if did < 0.1:
            query = {"timeout": 0, **({"drain": 1} if chance.random() < 0.5 else {})}
            answer = await self._daemon.api.act(NUMBER, "restart", **query)
            assert answer.status in {200, 202, 500, 503}, answer
            return f"restart {answer.status}"
        return await self._submit(chance)

    async def _submit(self, chance: Random) -> str:
        name = str(UUID(int=chance.getrandbits(128), version=4))
        graph = {**sleep(chance.random() / 5), "2": text(name)["1"]}
        try:
            await self._comfy.submit(graph, name)
        except (aiohttp.ClientError, OSError):  # it is not there, or died meanwhile
            await asyncio.sleep(0.1)
            return "not accepted"
        self.accepted[name] = self._generation
        return f"accepted {name}"

    def look(self) -> None:
        """Return the prompts that the daemon has stored."""
        with suppress(OSError):
            written = (self._daemon.run_dir / "queue" / f"{NUMBER}.json").read_text()
            self.known |= {each for each in self.accepted if each in written}

    def runs(self, name: str) -> int:
        return len(self._ran_at(name))

    def _ran_at(self, name: str) -> list[float]:
        files = (self._environment / "output").glob(f"{name}_*")
        return sorted(file.stat().st_mtime for file in files)

    async def finish(self) -> None:
        """Wait until no prompt is left, and check each of them."""

        async def idle() -> bool:
            shown = await self._daemon.api.show(NUMBER)
            self._generation = shown["generation"]
            queue = shown["queue"] or {}
            return shown["state"] == "running" and not any(
                queue.get(name, 1) for name in ("running", "pending")
            )

        await until_async(idle)
        given_up = {line.get("prompt") for line in self._daemon.events("prompt.given_up")}
        silent = [each for each in self.known if not self.runs(each) and each not in given_up]
        assert not silent, f"accepted, known, and neither run nor given up: {silent}"
        for each, generation in self.accepted.items():
            self._check_runs(each, self._generation - generation, each in given_up)

    def _check_runs(self, prompt: str, ends: int, given_up: bool) -> None:  # noqa: FBT001
        """A prompt runs once, again after each end that was not its fault, and after one that was.

        Who dies with it may have finished it already: only the depth of the queue tells of that,
        and it may come too late. With the second crash that is pinned on it, it is given up.
        """
        pinned = [
            datetime.fromisoformat(line["timestamp"]).timestamp()
            for line in self._daemon.events("instance.exited", instance=NUMBER)
            if prompt in line.get("prompts", ())
        ]
        found = (prompt, ends, pinned, ran := self._ran_at(prompt))
        assert len(pinned) < 3, f"more than two crashes: {found}"
        if len(pinned) == 2:
            assert given_up, f"two crashes, and not given up: {found}"
            assert not ran or max(ran) <= pinned[1], f"run after two crashes: {found}"
        assert len(ran) <= 1 + ends - (len(pinned) == 2), f"run too often: {found}"

    def check_ends(self) -> None:
        """Assert that every exit was requested: none as unresponsive, late or dead."""
        wrong = [
            line
            for line in self._daemon.events("instance.exited", instance=NUMBER)
            if line["reason"] in {"startup_timeout", "unresponsive", "worker_dead"}
        ]
        assert not wrong, wrong
