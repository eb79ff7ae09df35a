"""The callers of the daemon during faults, and the states that each may expect afterwards."""

import asyncio
import json
from collections.abc import Callable
from random import Random
from typing import Any

import aiohttp

from tests.chaos.programs import unruly
from tests.scenarios.client import API, Answer
from tests.scenarios.harness import Daemon

LOST = (aiohttp.ClientError, OSError, RuntimeError)
"""The daemon is gone, or the client is closed already: aiohttp's RuntimeError."""

Tell = Callable[[str], None]


class Wishes:
    """What may be wished of one instance: wanted, not wanted, or (None) not there.

    Until a request is acknowledged, it and what was before may be true.
    """

    def __init__(self, number: int) -> None:
        self.number = number
        self.possible: set[bool | None] = {None}

    def asked(self, *wishes: bool | None) -> None:
        self.possible |= set(wishes)

    def acknowledged(self, *wishes: bool | None) -> None:
        self.possible = set(wishes)

    def check(self, shown: dict[str, Any] | None) -> None:
        wanted = shown["wanted"] if shown else None
        assert wanted in self.possible, (self.number, self.possible, shown)
        # One that is not wanted may be on its way out of the table: a delete that was cut off.
        self.possible = {wanted} if wanted else {wanted, *({None} & self.possible)}


class Subject:
    """One instance and its caller."""

    def __init__(self, daemon: Daemon, number: int) -> None:
        self.number = number
        self.port = daemon.ports.reserve()
        self.wishes = Wishes(number)
        self._daemon = daemon
        unruly(daemon.workspace, number)

    async def command(self, chance: Random) -> str:
        """Send one request; return its result."""
        verbs = {"start": 4, "stop": 2, "restart": 2, "delete": 1, "roll": 1}
        [verb] = chance.choices(list(verbs), list(verbs.values()))
        before = set(self.wishes.possible)
        if before == {None}:
            verb = "start"
        wish = {"start": True, "restart": True, "stop": False, "delete": None}
        if verb == "roll":
            answer = await self._ask(verb, chance)
            assert answer.status in {200, 202, 404, 409, 500, 503}, (verb, answer)
            return f"{verb} {answer.status}"
        # A delete is a stop first, and who is new is not asked for at once.
        between = {False} if verb == "delete" or None in before else set()
        self.wishes.asked(wish[verb], *between)
        answer = await self._ask(verb, chance)
        assert answer.status in {200, 202, 404, 500, 503}, (verb, answer)
        if answer.status == 404:
            assert None in before, (verb, before, answer)
            self.wishes.acknowledged(None)
        elif answer.status == 503:
            return f"{verb} 503"
        elif answer.status == 500 and verb != "start":
            self.wishes.acknowledged(*before, wish[verb])
        elif verb == "stop":  # a delete that was cut off goes on
            self.wishes.acknowledged(wish[verb], *({None} & before))
        else:
            self.wishes.acknowledged(wish[verb])
        return f"{verb} {answer.status}"

    async def _ask(self, verb: str, chance: Random) -> Answer:
        api, environment = self._daemon.api, f"c{self.number}"
        timeout = chance.choice([0, 0.3])
        drain: dict[str, Any] = {"drain": 0.2} if chance.random() < 0.3 else {}
        match verb:
            case "start":
                wait = {"wait": chance.choice(["spawn", "ready"]), "timeout": timeout}
                return await api.start(self.number, self.port, environment=environment, wait=wait)
            case "delete":
                return await api.ask("DELETE", f"{API}/instances/{self.number}")
            case "roll":
                path = f"{API}/environments/{environment}/restart"
                return await api.ask("POST", path, timeout=timeout, **drain)
            case _:
                return await api.act(self.number, verb, timeout=timeout, **drain)


class File:
    """instances.json, which changes and is reloaded, and the instances in it."""

    def __init__(self, daemon: Daemon, numbers: tuple[int, ...]) -> None:
        self.wishes = [Wishes(number) for number in numbers]
        self.ports = {number: daemon.ports.reserve() for number in numbers}
        self._followed: dict[int, bool | None] = {}
        self._daemon = daemon
        for number in numbers:
            unruly(daemon.workspace, number)

    async def command(self, chance: Random) -> str:
        chosen = {each.number: chance.choice([True, True, False, None]) for each in self.wishes}
        entries = [
            {
                "id": number,
                "port": self.ports[number],
                "environment": f"c{number}",
                "enabled": enabled,
                "description": f"{chance.random()}",
            }
            for number, enabled in chosen.items()
            if enabled is not None
        ]
        self._write({"instances": entries})
        for each in self.wishes:
            between = {False} if None in each.possible else set()  # as in a subject's command
            each.asked(*self._outcomes(each, chosen), *between)
        answer = await self._daemon.api.ask("POST", f"{API}/reload")
        # 422: somebody has deleted the file in between.
        assert answer.status in {200, 422, 503}, answer
        if answer.status == 200:
            # What a restart in place interrupted may be as it was before, or stopped.
            failed = {each["id"] for each in answer.body["failed"]}
            for each in self.wishes:
                if each.number not in failed:
                    each.acknowledged(*self._outcomes(each, chosen))
            self._followed |= {each: chosen[each] for each in chosen.keys() - failed}
        return f"reload {list(chosen.values())} {answer.status}"

    def _write(self, content: object) -> None:
        """Replace the file as editors do: a reader gets the old or the new content."""
        draft = self._daemon.root / "instances.draft"
        draft.write_text(json.dumps(content))
        draft.replace(self._daemon.root / "instances.json")

    def _outcomes(self, wishes: Wishes, chosen: dict[int, bool | None]) -> set[bool | None]:
        """An instance that was enabled and then stopped by a caller stays stopped."""
        if not chosen[wishes.number]:
            return {False, None}
        was_enabled = self._followed.get(wishes.number)
        return {True, False} if was_enabled and False in wishes.possible else {True}


async def ask_on(
    command: Callable[[Random], Any], chance: Random, over: asyncio.Event, tell: Tell
) -> None:
    """Send one request after another until the round is over or the daemon is gone."""
    while not over.is_set():
        try:
            tell(await command(chance))
        except LOST as error:
            tell(f"cut off: {error!r}")
        await asyncio.sleep(chance.random() / 20)
