"""The NVIDIA GPUs of this machine, as its driver tells of them (NVML).

Without a driver, a GPU or the package there are none, which is said once and hinders nothing. NVML
counts GPUs in the order of their PCI addresses, as CUDA does under `CUDA_DEVICE_ORDER=PCI_BUS_ID`.
"""

import asyncio
import importlib
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import structlog

from comfysup.linux.executor import UnresponsiveError
from comfysup.linux.host.gpu_request import Inherited, indices_of, unknown_gpu
from comfysup.supervision.tasks import InThread

log = structlog.get_logger()

AUTO = "auto"
NOTHING_INHERITED = Inherited({})
COARSE = 1 << 30
"""Bytes below which two GPUs count as equally free: what a driver needs differs by that."""
SETTLING = 16 << 20
"""Bytes that must become free between two looks for memory to count as still being given back."""
LOOK_PERIOD = 0.05
RETRY_AFTER = 30.0
"""Seconds after which a driver that could not be opened is tried again."""
PATIENCE = 5.0
"""Seconds for which the memory of a dead process is waited for at most."""


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU at one moment; `use_percent` is None where the driver does not tell."""

    index: int
    name: str
    memory_total: int
    memory_used: int
    use_percent: int | None = None
    uuid: str = ""

    @property
    def memory_free(self) -> int:
        return self.memory_total - self.memory_used


class Nvml:
    """Looks at the GPUs; `load` gives the module `pynvml`, or raises ImportError."""

    def __init__(self, load: Callable[[], Any] = lambda: importlib.import_module("pynvml")) -> None:
        self._load = load
        self._module: Any = None
        self._hopeless = False
        self._retry_at = 0.0
        self._said = ""

    def look(self) -> tuple[Gpu, ...]:
        """Return the GPUs; none where there are none. Blocks for about a millisecond each."""
        if self._hopeless or time.monotonic() < self._retry_at:
            return ()
        try:
            if self._module is None:
                self._module = self._open()
            found = tuple(self._gpu(place) for place in range(self._module.nvmlDeviceGetCount()))
        except ImportError as error:
            self._hopeless = True
            self._say(str(error))
            return ()
        except Exception as error:  # noqa: BLE001 - the errors of a driver that may be broken
            self._retry_at = time.monotonic() + RETRY_AFTER if self._module is None else 0.0
            self._module = None
            self._say(str(error) or repr(error))
            return ()
        self._said = ""
        return found

    def _say(self, reason: str) -> None:
        """Log why there are no GPUs, once for each reason."""
        if reason != self._said:
            log.info("gpu.none_seen", reason=reason)
        self._said = reason

    def _open(self) -> Any:  # noqa: ANN401 - a module that need not be there
        module = self._load()
        module.nvmlInit()
        return module

    def _gpu(self, place: int) -> Gpu:
        nvml = self._module
        handle = nvml.nvmlDeviceGetHandleByIndex(place)
        memory = nvml.nvmlDeviceGetMemoryInfo(handle)
        name = nvml.nvmlDeviceGetName(handle)
        return Gpu(
            place,
            name.decode() if isinstance(name, bytes) else str(name),
            int(memory.total),
            int(memory.used),
            self._use(handle),
            self._uuid(handle),
        )

    def _uuid(self, handle: object) -> str:
        try:
            uuid = self._module.nvmlDeviceGetUUID(handle)
        except Exception:  # noqa: BLE001 - as for the use of a GPU
            return ""
        return uuid.decode() if isinstance(uuid, bytes) else str(uuid)

    def _use(self, handle: object) -> int | None:
        try:
            return int(self._module.nvmlDeviceGetUtilizationRates(handle).gpu)
        except Exception:  # noqa: BLE001 - some GPUs do not tell, each with an error of its own
            return None


class GpuAllocator:
    """Says which GPUs an instance gets, and when.

    `look` is that of `Nvml`; `held` are the GPUs of each instance that has some now. `inherited`
    says which of them the daemon's own variables leave to instances.
    """

    def __init__(
        self,
        look: Callable[[], Sequence[Gpu]],
        in_thread: InThread,
        inherited: Inherited = NOTHING_INHERITED,
    ) -> None:
        self.seen: Sequence[Gpu] = ()
        self._inherited = inherited
        self._look = look
        self._in_thread = in_thread
        self.held: dict[int, tuple[int, ...]] = {}

    async def assign(self, instance: int, wish: str | None, *, again: bool) -> str | None:
        """Return the value of `CUDA_VISIBLE_DEVICES` for an instance; None: all it can see.

        A number is passed as it is, also where no GPU is seen. Started `again`, it gets time for
        the memory of its last process to come back. Raises `UnresponsiveError` where only the
        driver can tell, and does not.
        """
        before = self.held.pop(instance, ())
        if again:
            await self._settled(before)
        if wish != AUTO:
            self.held[instance] = indices_of(wish, self.seen) if wish else ()
            return wish
        try:
            async with asyncio.timeout(PATIENCE):
                gpus = await self._in_thread(self.look)
        except TimeoutError:
            raise UnresponsiveError("the GPU driver", PATIENCE) from None
        left = [gpu for gpu in gpus if self._inherited.allows(str(gpu.index), gpus)]
        if not left:
            return None
        chosen = freest(left, self.held)
        self.held[instance] = (chosen,)
        return str(chosen)

    def refusal(self, wish: str | None) -> str | None:
        """Return why an instance cannot have these GPUs, by what the driver told last; or None."""
        if wish is None or wish == AUTO:
            return None
        return self._inherited.refusal(wish, self.seen) or unknown_gpu(wish, self.seen)

    def look(self) -> Sequence[Gpu]:
        """Return the GPUs as they are now, and keep them for `refusal`; blocks on the driver."""
        self.seen = self._look()
        return self.seen

    def take_over(self, instance: int, visible: str | None) -> None:
        """Note what an instance was given by an earlier daemon."""
        self.held[instance] = indices_of(visible, self.seen) if visible else ()

    def release(self, instance: int) -> None:
        """Note that an instance has none any more."""
        self.held.pop(instance, None)

    async def _settled(self, wanted: Collection[int]) -> None:
        """Wait until no more memory becomes free on these GPUs, or on all where none is named."""
        try:
            async with asyncio.timeout(PATIENCE):
                free = await self._free(wanted)
                while free is not None:
                    await asyncio.sleep(LOOK_PERIOD)
                    now = await self._free(wanted)
                    if now is None or now < free + SETTLING:
                        return
                    free = now
        except UnresponsiveError as error:
            log.warning("gpu.unresponsive", error=str(error))
        except TimeoutError:
            log.warning("gpu.memory_not_given_back", gpus=list(wanted))

    async def _free(self, wanted: Collection[int]) -> int | None:
        gpus = await self._in_thread(self.look)
        mine = [gpu.memory_free for gpu in gpus if not wanted or gpu.index in wanted]
        return sum(mine) if mine else None


def freest(gpus: Sequence[Gpu], held: Mapping[int, Collection[int]]) -> int:
    """Return the GPU with the most free memory; among equals that with the fewest instances."""

    def order(gpu: Gpu) -> tuple[int, int, int]:
        instances = sum(gpu.index in each for each in held.values())
        return (-(gpu.memory_free // COARSE), instances, gpu.index)

    return min(gpus, key=order).index
