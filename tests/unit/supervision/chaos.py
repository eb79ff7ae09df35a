"""Random misbehaviour of processes and launchers, by a seed; `calm` ends it."""

import asyncio
from random import Random
from signal import Signals

from typing_extensions import override

from comfysup.model.spec import InstanceSpec
from comfysup.supervision.protocols import Finding, LaunchError
from tests.unit.supervision.fakes import FakeLauncher, FakeProbe, FakeProber, FakeProcess


class Chaos:
    """The random source of all misbehaviour."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.calm = False

    def happens(self, likelihood: float) -> bool:
        return not self.calm and self.random.random() < likelihood

    async def pause(self) -> None:
        """Yield to other tasks for a random, mostly short time."""
        if self.happens(0.2):
            await asyncio.sleep(self.random.random() / 500)
        for _ in range(self.random.randrange(4)):
            await asyncio.sleep(0)


class ChaoticProcess(FakeProcess):
    """Ignores signals, crashes and leaves descendants, at random."""

    def __init__(self, pid: int, chaos: Chaos) -> None:
        super().__init__(pid)
        self._chaos = chaos
        if chaos.happens(0.5):
            heard = chaos.random.choice([[Signals.SIGTERM, Signals.SIGKILL], [Signals.SIGKILL]])
            self.deadly = frozenset(heard)
        if chaos.happens(0.5):
            asyncio.get_running_loop().call_later(chaos.random.random() / 200, self.end)

    @override
    async def sweep(self) -> None:
        await self._chaos.pause()
        await super().sweep()


class ChaoticLauncher(FakeLauncher):
    """Is slow, fails, and sometimes ignores cancellation."""

    def __init__(self, chaos: Chaos) -> None:
        super().__init__(lambda pid: ChaoticProcess(pid, chaos))
        self._chaos = chaos

    @override
    async def prepare(self, spec: InstanceSpec) -> None:
        hears = not self._chaos.happens(0.3)
        try:
            await self._chaos.pause()
        except asyncio.CancelledError:
            if hears:
                raise
        if self._chaos.happens(0.2):
            raise LaunchError("no_memory", "cannot start: no memory")


class ChaoticProbe(FakeProbe):
    """Reports random findings."""

    def __init__(self, chaos: Chaos) -> None:
        self._chaos = chaos

    @override
    async def until_ready(self) -> None:
        await self._chaos.pause()
        await super().until_ready()

    @override
    async def ask(self, patience: float) -> Finding:
        await self._chaos.pause()
        if self._chaos.happens(0.5):
            return self._chaos.random.choice(list(Finding))
        return Finding.ANSWERED


def chaotic_prober(chaos: Chaos) -> FakeProber:
    return FakeProber(lambda: ChaoticProbe(chaos))
