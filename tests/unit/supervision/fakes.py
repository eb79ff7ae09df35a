"""Fake processes, launchers and probes; their names state how they misbehave."""

import asyncio
import errno
from collections.abc import Callable
from signal import Signals
from time import time

from typing_extensions import override

from comfysup.model.spec import InstanceSpec, Policy
from comfysup.supervision.life import Exit
from comfysup.supervision.protocols import (
    Condition,
    Finding,
    LaunchError,
    Probe,
    Process,
    ProcessRecord,
    RefusedError,
)

PATIENT = Policy(backoff_initial=0.001, backoff_max=0.002, probe_period=0.001)
"""Waits short enough for a test, and time limits that no loaded machine reaches."""


def spec_of(
    number: int = 0, *, name: str = "", port: int = 0, policy: Policy = PATIENT
) -> InstanceSpec:
    return InstanceSpec(
        number, name or f"instance_{number}", "comm", port or 3001 + number, policy=policy
    )


# ---- processes


class FakeProcess:
    """Exits on the first signal and leaves no descendants."""

    deadly = frozenset({Signals.SIGINT, Signals.SIGTERM, Signals.SIGKILL})

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.signals: list[Signals] = []
        self.swept = False
        self.sweeps = 0
        self.found: list[Condition] = []
        self._ending: asyncio.Future[Exit] = asyncio.get_running_loop().create_future()

    @property
    def record(self) -> ProcessRecord:
        return ProcessRecord(self.pid, start_time=self.pid)

    @property
    def alive(self) -> bool:
        """Return whether the process or a descendant exists."""
        return not (self._ending.done() and self.swept)

    def signal_group(self, number: Signals) -> None:
        self.signals.append(number)
        if number in self.deadly:
            self.end(None, number)

    def end(self, code: int | None = 1, number: Signals | None = None) -> None:
        if not self._ending.done():
            message = f"exited with code {code}" if number is None else f"killed by {number.name}"
            name = number.name if number else None
            self._ending.set_result(Exit(time(), "exited", message, exit_code=code, signal=name))

    async def ended(self) -> Exit:
        return await self._ending

    async def recorded(self) -> None:
        pass

    async def conditions(self) -> list[Condition]:
        return self.found

    async def last_lines(self, count: int) -> list[str]:
        return []

    def remnants(self) -> list[str]:
        return [f"pid {self.pid}"] if self.alive else []

    async def sweep(self) -> None:
        self.end(None, Signals.SIGKILL)
        self.swept = True
        self.sweeps += 1


class DeafProcess(FakeProcess):
    """Ignores SIGINT."""

    deadly = frozenset({Signals.SIGTERM, Signals.SIGKILL})


class StubbornProcess(FakeProcess):
    """Exits only on SIGKILL."""

    deadly = frozenset({Signals.SIGKILL})


class UnkillableProcess(FakeProcess):
    """Survives every signal."""

    deadly = frozenset[Signals]()


class LitteringProcess(FakeProcess):
    """Leaves descendants until `tidied` is set."""

    def __init__(self, pid: int) -> None:
        super().__init__(pid)
        self.tidied = asyncio.Event()

    @override
    async def sweep(self) -> None:
        await self.tidied.wait()
        await super().sweep()


class UnsweepableProcess(FakeProcess):
    """Cannot be swept because of an internal error."""

    @override
    async def sweep(self) -> None:
        await super().sweep()
        raise RuntimeError("the sweep is broken")


# ---- launchers


class FakeLauncher:
    """Makes a process at once, and keeps the truth about what lives.

    `overlaps` are those that still lived when another of their instance or port was made.
    """

    def __init__(self, make: Callable[[int], FakeProcess] = FakeProcess) -> None:
        self.make = make
        self.launches: list[tuple[InstanceSpec, int]] = []
        self.processes: list[FakeProcess] = []
        self.overlaps: list[InstanceSpec] = []
        self.broken_environments: set[str] = set()
        self.checks: list[InstanceSpec] = []
        self.strangers: dict[int, str] = {}
        self._owners: list[InstanceSpec] = []
        self._under_way: list[InstanceSpec] = []

    def alive(self) -> list[InstanceSpec]:
        """Return the specs of all processes that exist or are being made."""
        pairs = zip(self._owners, self.processes, strict=True)
        return [owner for owner, process in pairs if process.alive] + self._under_way

    def living(self, number: int) -> int:
        """Return the number of processes of an instance, including those being made."""
        return sum(spec.id == number for spec in self.alive())

    async def check(self, spec: InstanceSpec, *, port: bool) -> None:
        self.checks.append(spec)
        await self.look(spec)
        if spec.environment in self.broken_environments:
            raise RefusedError("unknown_environment", f"no environment '{spec.environment}'")
        if port and spec.port in self.strangers:
            raise RefusedError(
                "port_taken", f"port {spec.port} belongs to {self.strangers[spec.port]}"
            )

    async def look(self, spec: InstanceSpec) -> None:
        """Run the checks before a launch."""

    async def launch(self, spec: InstanceSpec, generation: int) -> Process:
        self.overlaps += [
            each for each in self.alive() if spec.id == each.id or spec.port == each.port
        ]
        self.launches.append((spec, generation))
        self._under_way.append(spec)
        try:
            await self.prepare(spec)
        finally:
            self._under_way.remove(spec)
        return self._keep(spec, self.make(4242 + len(self.processes)))

    def adopt(self, spec: InstanceSpec, generation: int, record: ProcessRecord) -> Process:
        return self._keep(spec, self.make(record.pid))

    async def find(self, spec: InstanceSpec, generation: int) -> ProcessRecord | None:
        return None

    def _keep(self, spec: InstanceSpec, process: FakeProcess) -> FakeProcess:
        self.processes.append(process)
        self._owners.append(spec)
        return process

    async def prepare(self, spec: InstanceSpec) -> None:
        """Run the steps before a process exists."""

    @property
    def process(self) -> FakeProcess:
        """The newest process."""
        return self.processes[-1]


class SlowLauncher(FakeLauncher):
    """Makes no process before `gate` is set; can be cancelled until then."""

    def __init__(self, make: Callable[[int], FakeProcess] = FakeProcess) -> None:
        super().__init__(make)
        self.gate = asyncio.Event()
        self.waiting = asyncio.Event()

    @override
    async def prepare(self, spec: InstanceSpec) -> None:
        self.waiting.set()
        await self.gate.wait()


class LateLauncher(SlowLauncher):
    """Has made the process before its cancellation."""

    @override
    async def prepare(self, spec: InstanceSpec) -> None:
        try:
            await super().prepare(spec)
        except asyncio.CancelledError:
            return


class FailingLauncher(FakeLauncher):
    """Fails to make a process while `failures` are left."""

    def __init__(self, failures: int) -> None:
        super().__init__()
        self.failures = failures

    @override
    async def prepare(self, spec: InstanceSpec) -> None:
        if self.failures:
            self.failures -= 1
            raise LaunchError("no_memory", "cannot start: no memory")


class UnadoptingLauncher(FakeLauncher):
    """Cannot adopt a process until `adopts`."""

    def __init__(self) -> None:
        super().__init__()
        self.adopts = False
        self.refused = asyncio.Event()

    @override
    def adopt(self, spec: InstanceSpec, generation: int, record: ProcessRecord) -> Process:
        if self.adopts:
            return super().adopt(spec, generation, record)
        self.refused.set()
        raise OSError(errno.EMFILE, "too many open files")


class DefectiveLauncher(FakeLauncher):
    """Raises an internal error for the instances in `victims`."""

    def __init__(self, *victims: int) -> None:
        super().__init__()
        self.victims = set(victims)

    @override
    async def prepare(self, spec: InstanceSpec) -> None:
        if spec.id in self.victims:
            raise ZeroDivisionError("a defect in the launcher")


# ---- probes


class FakeProbe:
    """Reports the process ready immediately, and healthy from then on."""

    async def until_ready(self) -> None:
        await asyncio.sleep(0)

    async def ask(self, patience: float) -> Finding:
        return Finding.ANSWERED


class NeverReadyProbe(FakeProbe):
    """Never becomes ready."""

    @override
    async def until_ready(self) -> None:
        await asyncio.get_running_loop().create_future()


class DefectiveProbe(FakeProbe):
    """Raises an internal error at the first probe."""

    @override
    async def until_ready(self) -> None:
        raise ZeroDivisionError("a defect in the probe")


class FakeProber:
    """Makes probes of one kind, and records their processes."""

    def __init__(self, make: Callable[[], Probe] = FakeProbe) -> None:
        self.make = make
        self.pids: list[int] = []

    def probe(self, spec: InstanceSpec, pid: int) -> Probe:
        self.pids.append(pid)
        return self.make()
