"""One daemon that suffers while it is asked for things, and what must hold afterwards.

A seed decides the commands, the blows and the moments; the kernel's scheduling decides the rest,
so a seed makes a finding likely again and not certain.
"""

import asyncio
import os
import shutil
import signal
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any

from tests.chaos.inspection import check_alone, check_lines, check_owners, leaders, pids_of
from tests.chaos.prompts import NUMBER, Prompts
from tests.chaos.subjects import File, Subject, Wishes, ask_on
from tests.scenarios import kernel
from tests.scenarios.client import API
from tests.scenarios.harness import Daemon
from tests.scenarios.waiting import bounded, until, until_async

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
LONGER = 2.5
"""Seconds in which nobody looks: longer than each deadline in POLICY."""

NOT_WANTED = False
ASKED, FROM_FILE = range(3), (3, 4)


class Story:
    """Several rounds in one run directory; `told` lists the events in them."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._chance = Random(seed)
        self._began = time.monotonic()
        self._daemon = Daemon()
        self._subjects = [Subject(self._daemon, each) for each in ASKED]
        self._file = File(self._daemon, FROM_FILE)
        self._prompts = Prompts(self._daemon)
        self._logless: set[int] = set()
        self._asking: list[asyncio.Task[None]] = []
        self.told: list[str] = []

    async def play(self, rounds: int) -> None:
        """Run the rounds and a quiet end; raise AssertionError for a violated invariant."""
        try:
            await self._daemon.start(**POLICY)
            await self._prompts.begin()
            for _ in range(rounds):
                await self._round()
            await self._quiet_end()
        except BaseException as error:
            self._explain(error, rounds)
            raise
        finally:
            await self._daemon.close()

    def _explain(self, error: BaseException, rounds: int) -> None:
        """Add the events to the error, and copy all files to the directory CHAOS_KEEP."""
        again = f"to play it again: make chaos ROUNDS={rounds} SEED={self._seed}"
        error.add_note("\n".join(["what happened:", *self.told, again]))
        if kept := os.environ.get("CHAOS_KEEP"):
            no_pipes = shutil.ignore_patterns("api.sock", "fifo")
            place = Path(kept, f"seed-{self._seed}")
            with suppress(shutil.Error):  # raised in the end, for files that have gone meanwhile
                shutil.copytree(self._daemon.root, place, ignore=no_pipes, symlinks=True)

    # ---- a round

    async def _round(self) -> None:
        blow = self._chance.choice(self._blows)
        over = asyncio.Event()
        self._asking.clear()
        async with asyncio.TaskGroup() as asking:
            for name, command in self._callers.items():
                chance = Random(self._chance.random())
                tell = self._teller(name)
                self._asking.append(asking.create_task(ask_on(command, chance, over, tell)))
            await asyncio.sleep(self._chance.random() ** 2 * 1.5)
            self._tell("story", blow.__name__.strip("_"))
            try:
                async with bounded():
                    await blow(over)
            finally:
                over.set()
        await self._check()

    @property
    def _callers(self) -> dict[str, Callable[[Random], Awaitable[str]]]:
        callers = {f"instance {each.number}": each.command for each in self._subjects}
        return {**callers, "file": self._file.command, "prompts": self._prompts.command}

    @property
    def _blows(self) -> list[Callable[[asyncio.Event], Awaitable[None]]]:
        return [
            self._kill,
            self._kill,
            self._kill_for_long,
            self._hang_up,
            self._restart,
            self._freeze,
            self._delete_files,
            self._stop_all,
            self._nothing,
        ]

    # ---- blows

    async def _kill(self, over: asyncio.Event, gap: float = 0.0) -> None:
        """Kill the daemon, and sometimes the next one during its startup."""
        self._daemon.signal(signal.SIGKILL)
        await self._daemon.ended()
        over.set()
        self._harm()
        await asyncio.sleep(gap)
        if self._chance.random() < 0.3:
            await self._die_early()
        await self._daemon.start(**POLICY)

    async def _kill_for_long(self, over: asyncio.Event) -> None:
        await self._kill(over, LONGER)

    async def _hang_up(self, over: asyncio.Event) -> None:
        """Restart the daemon in place by SIGHUP."""
        before = self._starts()
        self._daemon.signal(signal.SIGHUP)
        await self._started_after(before)

    async def _restart(self, over: asyncio.Event) -> None:
        """Restart the daemon in place over HTTP, several times."""
        for _ in range(self._chance.randint(1, 3)):
            before = self._starts()
            answer = await self._daemon.api.ask("POST", f"{API}/daemon/restart")
            assert answer.status == 202, answer
            await self._started_after(before)

    async def _freeze(self, over: asyncio.Event) -> None:
        """Stop the daemon for longer than its deadlines; healthy instances must keep running."""
        self._daemon.signal(signal.SIGSTOP)
        self._harm()
        await asyncio.sleep(LONGER)
        self._daemon.signal(signal.SIGCONT)

    async def _delete_files(self, over: asyncio.Event) -> None:
        """Delete files as a clean-up job might; the daemon must continue."""
        run_dir, log_dir = self._daemon.run_dir, self._daemon.log_dir
        logs = [log_dir / f"comfyui_instance_{number}.log" for number in (*ASKED, *FROM_FILE)]
        candidates = [
            *logs,
            *(run_dir / "queue").glob("*"),
            *(run_dir / "session").glob("*"),
            run_dir / "state.json",
            self._daemon.root / "instances.json",
        ]
        for file in self._chance.sample(candidates, min(3, len(candidates))):
            self._tell("story", f"deletes {file.name}")
            if file in logs:
                self._logless.add(logs.index(file))
            if file.parent.name == "queue":
                self._prompts.known.clear()  # until it is written anew
            with suppress(OSError):
                file.unlink()
        assert (await self._daemon.api.ask("GET", "/livez")).status == 200

    async def _stop_all(self, over: asyncio.Event) -> None:
        """Stop all instances after the callers have ended, so that the stop is the last request."""
        over.set()
        await asyncio.wait(self._asking)
        everybody = [wishes for wishes in self._wishes if wishes.possible != {None}]
        for wishes in everybody:
            wishes.asked(NOT_WANTED)
        answer = await self._daemon.api.ask("POST", f"{API}/stop-all")
        assert answer.status in {200, 500, 503}, answer
        await self._daemon.api.act(NUMBER, "start")

    async def _nothing(self, over: asyncio.Event) -> None:
        await asyncio.sleep(self._chance.random())

    def _starts(self) -> int:
        return len(self._daemon.events("daemon.started"))

    async def _started_after(self, starts: int) -> None:
        await until(lambda: self._starts() > starts)

    def _harm(self) -> None:
        """Kill an instance while no daemon runs."""
        if self._chance.random() < 0.3:
            for pid in sorted(leaders(self._daemon))[:1]:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    async def _die_early(self) -> None:
        """Kill a daemon during its startup."""
        early = await self._daemon.spawn(**POLICY)
        await asyncio.sleep(0.2 + self._chance.random() * 0.8)
        with suppress(ProcessLookupError):
            early.kill()
        await early.wait()

    # ---- what must hold

    @property
    def _wishes(self) -> list[Wishes]:
        return [*(each.wishes for each in self._subjects), *self._file.wishes]

    async def _check(self) -> None:
        self._prompts.look()
        shown = {each["id"]: each for each in await self._daemon.api.show_all()}
        for wishes in self._wishes:
            wishes.check(shown.get(wishes.number))
        assert shown[NUMBER]["wanted"], shown[NUMBER]
        for subject in self._subjects:
            found = shown.get(subject.number)
            assert found is None or found["port"] == subject.port, found
        await check_owners(self._daemon)
        check_alone(self._daemon)

    async def _quiet_end(self) -> None:
        """Stop all instances; their output must then be in the logs, complete and in order."""
        self._tell("story", "the quiet end")
        await self._prompts.finish()
        self._prompts.check_ends()
        await self._stopped()
        for number in {*ASKED, *FROM_FILE} - self._logless:
            check_lines(self._daemon, number)
        check_alone(self._daemon)
        await self._check_descriptors()

    async def _stopped(self) -> None:
        answer = await self._daemon.api.ask("POST", f"{API}/stop-all")
        assert answer.status == 200, answer

        async def nothing_left() -> bool:
            return not pids_of(self._daemon)

        await until_async(nothing_left)

    async def _check_descriptors(self) -> None:
        """Two more generations and a restart in place must not change the number of resources."""

        async def cycle() -> None:
            for subject in self._subjects:
                environment = f"c{subject.number}"
                await self._daemon.api.start(
                    subject.number, subject.port, environment=environment, wait={"wait": "spawn"}
                )
            await self._stopped()

        await self._hang_up(asyncio.Event())
        await cycle()
        before = kernel.descriptors(self._daemon.pid)
        await self._hang_up(asyncio.Event())
        await cycle()
        await until(lambda: kernel.descriptors(self._daemon.pid) <= before)

    # ---- what is told

    def _teller(self, who: str) -> Callable[[str], None]:
        return lambda what: self._tell(who, what)

    def _tell(self, who: str, what: str) -> None:
        self.told.append(f"{time.monotonic() - self._began:8.3f} {who}: {what}")
