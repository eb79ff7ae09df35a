"""The clock of supervision, and gaps in it."""

import asyncio

import pytest

from comfysup.model.spec import Policy
from comfysup.supervision.attention import BEAT, GAP, Attention
from comfysup.supervision.instance import Instance
from comfysup.supervision.life import Moment, Phase, Starting, Stopping
from comfysup.supervision.lifecycle_events import StopAsked, WaitFor
from comfysup.supervision.stop_escalation import StopEscalation
from tests.scenarios.waiting import until
from tests.unit.supervision.asking import start
from tests.unit.supervision.fakes import FakeLauncher, FakeProber, NeverReadyProbe, spec_of
from tests.unit.supervision.fakes import UnkillableProcess as Unkillable
from tests.unit.supervision.stage import Stage


class Machine:
    """A clock that a test sets, and its reports."""

    def __init__(self) -> None:
        self.monotonic = 100.0
        self.beats: list[float] = []
        self.gaps: list[float] = []

    def now(self) -> Moment:
        return Moment(self.monotonic, 1_700_000_000.0)

    def beat(self, monotonic: float) -> None:
        self.beats.append(monotonic)


@pytest.fixture
def machine() -> Machine:
    return Machine()


@pytest.fixture
def attention(machine: Machine) -> Attention:
    return Attention(machine.now, machine, machine.gaps.append)


async def test_time_in_short_steps_is_not_counted_as_a_gap(
    machine: Machine, attention: Attention
) -> None:
    for _ in range(100):
        machine.monotonic += GAP
        attention()

    assert (attention.lost, machine.gaps) == (0.0, [])


async def test_a_gap_is_reported_at_the_first_reading_after_it(
    machine: Machine, attention: Attention
) -> None:
    machine.monotonic += 60
    assert attention() == machine.now()
    attention()

    assert (attention.lost, machine.gaps) == (60.0, [60.0])


async def test_heartbeats_are_written_until_the_close(
    machine: Machine, attention: Attention
) -> None:
    attention.begin()
    await until(lambda: len(machine.beats) >= 3)
    attention.close()
    given = len(machine.beats)
    await asyncio.sleep(2 * BEAT)  # one that was due would come before: timers run in their order

    assert given == len(machine.beats)


async def test_instances_are_notified_of_a_gap_before_the_next_heartbeat_is_written(
    machine: Machine, attention: Attention
) -> None:
    """A daemon that died in between must not treat old deadlines as moved."""
    attention.begin()
    machine.monotonic += 60
    await until(lambda: machine.gaps)
    attention.close()

    assert machine.beats == [100.0]


# ---- what an instance makes of it


class Frozen(Stage):
    """A stage whose clock can jump, as for a stopped daemon."""

    def __init__(self, launcher: FakeLauncher, prober: FakeProber) -> None:
        super().__init__(launcher, prober)
        self.ahead = 0.0
        self.instances: list[Instance] = []
        self.attention = Attention(self.now, self, self.lose_time)
        object.__setattr__(self.context, "clock", self.attention)
        object.__setattr__(self.context, "lost", lambda: self.attention.lost)

    def now(self) -> Moment:
        loop = asyncio.get_running_loop().time()
        return Moment(loop + self.ahead, 1_700_000_000.0 + loop)

    def lose_time(self, seconds: float) -> None:
        for each in self.instances:
            each.lose_time(seconds)

    def beat(self, monotonic: float) -> None:
        """Nobody comes after."""


async def test_a_gap_does_not_end_a_starting_instance() -> None:
    stage = Frozen(FakeLauncher(), FakeProber(NeverReadyProbe))
    instance = Instance(spec_of(policy=Policy(startup_timeout=100.0)), stage.context)
    stage.instances.append(instance)
    task = asyncio.create_task(instance.run())
    await start(instance, WaitFor.SPAWN)
    state = instance.life.state
    assert isinstance(state, Starting)

    stage.ahead += 1_000.0
    stage.attention()
    await stage.until(lambda: instance.life.state != state)

    assert instance.life.phase is Phase.STARTING
    assert instance.life.deadline is not None
    assert instance.life.deadline - stage.now().monotonic == pytest.approx(100.0, abs=20)
    task.cancel()
    await asyncio.wait([task])


async def test_a_stopping_instance_keeps_its_grace_period_after_a_gap() -> None:
    stage = Frozen(FakeLauncher(Unkillable), FakeProber())
    instance = Instance(spec_of(), stage.context)
    stage.instances.append(instance)
    task = asyncio.create_task(instance.run())
    await start(instance)
    _ = instance.ask(StopAsked(StopEscalation.of(100.0)), WaitFor.STOP)
    await stage.until(lambda: instance.life.phase is Phase.STOPPING)
    before = instance.life.state

    stage.ahead += 1_000.0
    stage.attention()
    await stage.until(lambda: instance.life.state != before)

    assert isinstance(instance.life.state, Stopping)
    assert instance.life.deadline is not None
    assert instance.life.deadline - stage.now().monotonic == pytest.approx(100.0, abs=20)
    task.cancel()
    await asyncio.wait([task])
