"""The probe of an instance that gets the prompts of its last process before it is ready."""

from dataclasses import dataclass

from comfysup.comfyui.queue.manager import QueueManager
from comfysup.model.spec import InstanceSpec
from comfysup.supervision.protocols import Finding, Probe, Prober


@dataclass(frozen=True, slots=True)
class RescuingProber:
    """A `Prober` by which a process is not ready before it has the prompts of the last one."""

    prober: Prober
    queues: QueueManager

    def probe(self, spec: InstanceSpec, pid: int) -> "RescuingProbe":
        return RescuingProbe(self.prober.probe(spec, pid), self.queues, spec, pid)


@dataclass(frozen=True, slots=True)
class RescuingProbe:
    """A `Probe` of one process."""

    probe: Probe
    queues: QueueManager
    spec: InstanceSpec
    pid: int

    async def until_ready(self) -> None:
        await self.probe.until_ready()
        await self.queues.rescue(self.spec, self.pid)

    async def ask(self, patience: float) -> Finding:
        self.queues.probed(self.spec.id, answered=False)
        finding = await self.probe.ask(patience)
        if finding is not Finding.ANSWERED:
            self.queues.fell_silent(self.spec.id)
            return finding
        self.queues.probed(self.spec.id, answered=True)
        await self.queues.examine(self.spec.id)
        dead = await self.queues.worker_has_died(self.spec.id)
        return Finding.WORKER_DEAD if dead else finding
