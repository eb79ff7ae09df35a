"""One daemon after another, killed at random while commands run, and what must hold after each.

A seed decides the commands and the moments; the kernel's scheduling decides the rest, so a seed
makes a finding likely again and not certain.
"""

import asyncio
import os
import signal
import time
from contextlib import suppress
from random import Random
from typing import Any

import aiohttp

from tests.chaos.inspection import check_lines, check_owners, leaders, pids_of
from tests.chaos.programs import unruly
from tests.scenarios.client import API
from tests.scenarios.harness import Daemon
from tests.scenarios.waiting import until_async

INSTANCES = 4

POLICY: dict[str, Any] = {
    "stop_grace": 0.2,
    "backoff_initial": 0.05,
    "backoff_max": 0.1,
    "stable_after": 0.5,
    "max_failures": 10_000,
    "log_max_bytes": 500_000,
    "log_keep": 100,
    "startup_timeout": 2,
}


class Subject:
    """One instance, and what its caller may believe of it: each of `wishes` may be true."""

    def __init__(self, number: int, port: int) -> None:
        self.number = number
        self.port = port
        self.wishes: set[bool | None] = {None}
        """Wanted, not wanted, or not there."""

    async def command(self, daemon: Daemon, chance: Random) -> None:
        """Asks for one thing. Until that is acknowledged, it and what was before may be true."""
        wait = {"wait": chance.choice(["spawn", "ready"]), "timeout": chance.choice([0, 0.3])}
        verbs = ["start", "stop", "restart", "delete"]
        verb = chance.choices(verbs, [4, 2, 2, 1])[0] if self.wishes != {None} else "start"
        wish = {"start": True, "restart": True, "stop": False, "delete": None}[verb]
        before = self.wishes
        # A delete is a stop first, and who is new is not asked for at once.
        between = {False} if wish is None or None in before else set()
        self.wishes = before | {wish} | between
        match verb:
            case "delete":
                answer = await daemon.api.ask("DELETE", f"{API}/instances/{self.number}")
            case "start":
                environment = f"c{self.number}"
                answer = await daemon.api.start(
                    self.number, self.port, environment=environment, wait=wait
                )
            case _:
                query = {"timeout": wait["timeout"]}
                answer = await daemon.api.act(self.number, verb, **query)
        if answer.status == 404 and None in before:
            self.wishes = {None}
            return
        assert answer.status in {200, 202, 500}, (verb, answer)
        self.wishes = {wish} if answer.status != 500 or verb == "start" else before | {wish}

    async def commands(self, daemon: Daemon, chance: Random) -> None:
        """Asks for one thing after another until the daemon is gone."""
        while True:
            try:
                await self.command(daemon, chance)
            except (aiohttp.ClientError, OSError, RuntimeError):  # closed: aiohttp's RuntimeError
                return
            await asyncio.sleep(chance.random() / 20)


class Story:
    """Several rounds in one run directory."""

    def __init__(self, seed: int) -> None:
        self._chance = Random(seed)
        self._daemon = Daemon()
        self._subjects = [Subject(each, self._daemon.ports.reserve()) for each in range(INSTANCES)]
        self._gaps: list[tuple[float, float]] = []
        for each in self._subjects:
            unruly(self._daemon.workspace, f"c{each.number}")

    async def play(self, rounds: int) -> None:
        """Plays so many rounds, and a quiet end; raises AssertionError for what does not hold."""
        try:
            await self._daemon.start(**POLICY)
            for _ in range(rounds):
                await self._round()
            await self._quiet_end()
        finally:
            await self._daemon.close()

    async def _round(self) -> None:
        chances = [Random(self._chance.random()) for _ in self._subjects]
        commands = [
            asyncio.create_task(subject.commands(self._daemon, chance))
            for subject, chance in zip(self._subjects, chances, strict=True)
        ]
        await asyncio.sleep(self._chance.random() ** 2 * 1.5)
        killed_at = time.time()
        self._daemon.signal(signal.SIGKILL)
        await self._daemon.ended()
        await asyncio.gather(*commands)
        await self._daemon.api.close()
        self._harm()
        if self._chance.random() < 0.3:
            await self._die_early()
        await self._daemon.start(**POLICY)
        self._gaps.append((killed_at - 0.05, time.time()))
        await self._check()

    def _harm(self) -> None:
        """Kills an instance that nobody looks at."""
        if self._chance.random() < 0.3:
            for pid in sorted(leaders(self._daemon))[:1]:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    async def _die_early(self) -> None:
        """A daemon that is killed while it begins."""
        early = await self._daemon.spawn(**POLICY)
        await asyncio.sleep(0.2 + self._chance.random() * 0.8)
        with suppress(ProcessLookupError):
            early.kill()
        await early.wait()

    async def _check(self) -> None:
        shown = {each["id"]: each for each in await self._daemon.api.show_all()}
        for subject in self._subjects:
            found = shown.get(subject.number)
            wanted = found["wanted"] if found else None
            assert wanted in subject.wishes, (subject.number, subject.wishes, found)
            assert found is None or found["port"] == subject.port, found
            subject.wishes = {wanted}
        await check_owners(self._daemon)

    async def _quiet_end(self) -> None:
        """Stops all; what they wrote must be in the logs then, whole and in order."""
        answer = await self._daemon.api.ask("POST", f"{API}/stop-all")
        assert answer.status == 200, answer

        async def nothing_left() -> bool:
            return not pids_of(self._daemon)

        await until_async(nothing_left, 10)
        for subject in self._subjects:
            check_lines(self._daemon, subject.number, self._gaps)
