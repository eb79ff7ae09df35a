"""Instances whose queues a manager watches."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from comfysup.comfyui.queue.manager import QueueManager
from comfysup.model.spec import InstanceSpec
from comfysup.supervision.instance import Instance
from comfysup.supervision.life import (
    Exit,
    Life,
    Moment,
    Run,
    Running,
)
from comfysup.supervision.lifecycle_events import LifecycleEvent
from tests.scenarios.waiting import until
from tests.unit.comfyui.queue.desk import Serve
from tests.unit.comfyui.queue.server import QueueServer
from tests.unit.supervision.stage import Stage

RUN = Run(42, Moment(0.0, 0.0))
STOP = Exit(0.0, "stopped", "it was asked to stop", expected=True)
CRASH = Exit(0.0, "signal", "it was killed", signal="SIGKILL")


@dataclass
class Written:
    """The output of processes; a mark is a number of lines."""

    lines: list[str] = field(default_factory=list)

    async def mark(self) -> str:
        return str(len(self.lines))

    async def lines_with(self, text: bytes, since: str) -> list[str]:
        return [line for line in self.lines[int(since) :] if text.decode() in line]


MakeQueues = Callable[[], QueueManager]


async def attended(queues: QueueManager, serve: Serve[QueueServer]) -> tuple[Instance, QueueServer]:
    """An instance whose process is working on `runs`, and its server."""
    server = await serve(QueueServer())
    server.add("runs")
    server.take()
    port = int(server.url.rpartition(":")[2])
    instance = Instance(InstanceSpec(0, "main", "comm", port), Stage().context)
    await ready(queues, instance)
    return instance, server


async def ready(queues: QueueManager, instance: Instance) -> None:
    await queues.rescue(instance.spec, RUN.pid)
    instance.life = Life(Running(RUN, None))
    queues.observe(instance, LifecycleEvent.READY)
    await until(lambda: (facts := queues.facts(0)) and facts.running_prompts)


def stop(queues: QueueManager, instance: Instance) -> None:
    instance.life = replace(instance.life, last_exit=STOP)
    queues.observe(instance, LifecycleEvent.EXITED)


def crash(queues: QueueManager, instance: Instance) -> None:
    instance.life = replace(instance.life, last_exit=CRASH)
    queues.observe(instance, LifecycleEvent.EXITED)
