"""One instance with its collaborators: requests, responses, launches and exits."""

import asyncio
from dataclasses import replace
from signal import Signals

from typing_extensions import override

from comfysup.model.spec import Policy
from comfysup.supervision.instance import Instance
from comfysup.supervision.life import Phase
from comfysup.supervision.lifecycle_events import WaitFor, WaitOutcome
from comfysup.supervision.monitor import Health
from comfysup.supervision.protocols import Finding, ProcessRecord
from tests.unit.supervision.asking import DONE, GENTLE, QUICK, start, stop
from tests.unit.supervision.fakes import (
    PATIENT,
    DeafProcess,
    FailingLauncher,
    FakeLauncher,
    FakeProbe,
    FakeProber,
    FakeProcess,
    NeverReadyProbe,
    SlowLauncher,
    StubbornProcess,
    spec_of,
)
from tests.unit.supervision.stage import Stage, alive

# ---- a life without surprises


async def test_an_instance_starts_becomes_ready_and_stops() -> None:
    launcher, prober = FakeLauncher(), FakeProber()
    stage = Stage(launcher, prober)
    async with alive(stage) as instance:
        assert await start(instance) == DONE
        assert prober.pids == [launcher.process.pid]
        assert await stop(instance) == DONE

        assert instance.life.phase is Phase.STOPPED
        assert instance.health == Health()
        assert launcher.living(0) == 0
        assert stage.heard() == ["starting", "ready", "stopping", "exited", "stopped"]


async def test_a_caller_that_waits_for_the_process_does_not_wait_for_readiness() -> None:
    stage = Stage(prober=FakeProber(NeverReadyProbe))
    async with alive(stage) as instance:
        ready = start(instance)

        assert await start(instance, WaitFor.SPAWN) == DONE
        assert instance.life.phase is Phase.STARTING
        assert not ready.done()


async def test_the_same_start_twice_makes_one_process_and_answers_both() -> None:
    launcher = FakeLauncher()
    async with alive(Stage(launcher)) as instance:
        assert list(await asyncio.gather(start(instance), start(instance))) == [DONE, DONE]
        assert len(launcher.processes) == 1


async def test_a_cancelled_caller_does_not_affect_another() -> None:
    launcher = SlowLauncher()
    async with alive(Stage(launcher)) as instance:
        gone, patient = start(instance), start(instance)
        await launcher.waiting.wait()
        gone.cancel()
        launcher.gate.set()

        assert await patient == DONE


async def test_a_process_that_ignores_sigint_gets_sigterm() -> None:
    launcher = FakeLauncher(DeafProcess)
    async with alive(Stage(launcher)) as instance:
        await start(instance)

        assert await stop(instance, replace(GENTLE, terminate=0.001)) == DONE
        assert launcher.process.signals == [Signals.SIGINT, Signals.SIGTERM]


async def test_a_process_that_ignores_sigint_and_sigterm_receives_sigkill() -> None:
    launcher = FakeLauncher(StubbornProcess)
    async with alive(Stage(launcher)) as instance:
        await start(instance)

        assert await stop(instance, QUICK) == DONE
        assert launcher.process.signals == [Signals.SIGINT, Signals.SIGTERM, Signals.SIGKILL]


async def test_a_caller_receives_the_exit_of_a_process_that_exits_while_loading() -> None:
    launcher = FakeLauncher()
    async with alive(Stage(launcher, FakeProber(NeverReadyProbe))) as instance:
        waiting = start(instance)
        await start(instance, WaitFor.SPAWN)
        launcher.process.end(3)
        reply = await waiting

        assert (reply.verdict, reply.message) == (WaitOutcome.FAILED, "exited with code 3")
        assert reply.exit == instance.life.last_exit


async def test_an_instance_is_restarted_after_every_crash() -> None:
    launcher = FakeLauncher()
    stage = Stage(launcher)
    policy = Policy(backoff_initial=0.001, backoff_max=0.001, max_failures=1000)
    async with alive(stage, spec_of(policy=policy)) as instance:
        await start(instance)
        for generation in range(1, 51):
            launcher.process.end(1)
            await stage.until(
                lambda wanted=generation + 1: (  # type: ignore[misc]
                    instance.life.generation == wanted and instance.life.phase is Phase.RUNNING
                )
            )

        assert instance.life.restarts == 50
        assert launcher.overlaps == []


async def test_launches_that_fail_are_retried_until_one_succeeds() -> None:
    launcher = FailingLauncher(failures=3)
    stage = Stage(launcher)
    async with alive(stage) as instance:
        reply = await start(instance)
        await stage.until(lambda: instance.life.phase is Phase.RUNNING)

        assert (reply.verdict, reply.message) == (WaitOutcome.FAILED, "cannot start: no memory")
        assert instance.life.failures == 3


async def test_an_unresponsive_process_is_replaced() -> None:
    class SilentOnceProbe(FakeProbe):
        silent = True

        @override
        async def ask(self, patience: float) -> Finding:
            return Finding.SILENT if SilentOnceProbe.silent else Finding.ANSWERED

    launcher = FakeLauncher()
    stage = Stage(launcher, FakeProber(SilentOnceProbe))
    policy = Policy(probe_period=0.001, probe_failures=2, backoff_initial=0.001)
    async with alive(stage, spec_of(policy=policy)) as instance:
        await start(instance)
        await stage.until(lambda: "exited" in stage.heard())
        SilentOnceProbe.silent = False
        await stage.until(lambda: stage.heard()[-1] == "ready")

        assert "unresponsive" in stage.heard()
        assert instance.life.last_exit is not None
        assert instance.life.last_exit.reason == "unresponsive"
        assert launcher.overlaps == []


async def test_releasing_an_instance_leaves_its_process_running() -> None:
    launcher = FakeLauncher()
    async with alive(Stage(launcher), spec_of(policy=PATIENT)) as instance:
        await start(instance)

    assert launcher.process.alive
    assert launcher.process.signals == []


class LateProcess(FakeProcess):
    """Knows the start of its output only after a while."""

    log_began = ""

    @property
    @override
    def record(self) -> ProcessRecord:
        return replace(super().record, log_began=self.log_began)

    @override
    async def recorded(self) -> None:
        await asyncio.sleep(0)
        self.log_began = "there"


async def test_record_fields_known_only_after_a_launch_are_stored_too() -> None:
    """No other change of the instance may follow for minutes."""
    stage = Stage(FakeLauncher(LateProcess), FakeProber(NeverReadyProbe))
    written: list[str] = []

    def touched(instance: Instance) -> None:
        if process := instance.record.process:
            written.append(process.log_began)
        stage._changed.set()

    stage.context = replace(stage.context, touched=touched)
    async with alive(stage) as instance:
        await start(instance, WaitFor.SPAWN)
        await stage.until(lambda: "there" in written)

        assert (written[0], written[-1]) == ("", "there")
