"""The NVIDIA GPUs of this machine, as reported by the driver (NVML).

If the driver, the GPUs or the package `pynvml` are missing, the list is empty, which is logged once
and is not an error. NVML orders GPUs by PCI address, as CUDA does with
`CUDA_DEVICE_ORDER=PCI_BUS_ID`.
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
"""Free memory is compared in units of this many bytes; the driver's own use varies by less."""
SETTLING = 16 << 20
"""Bytes that must become free between two readings for memory to count as still being released."""
LOOK_PERIOD = 0.05
RETRY_AFTER = 30.0
"""Seconds before another attempt to open a driver that could not be opened."""
PATIENCE = 5.0
"""Maximum seconds to wait for the memory of a dead process to be released."""


@dataclass(frozen=True, slots=True)
class Gpu:
    """A GPU at one moment. `use_percent` is None if the driver does not report it."""

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
    """Reads the GPUs from NVML. `load` returns the module `pynvml` or raises ImportError."""

    def __init__(self, load: Callable[[], Any] = lambda: importlib.import_module("pynvml")) -> None:
        self._load = load
        self._module: Any = None
        self._hopeless = False
        self._retry_at = 0.0
        self._said = ""

    def look(self) -> tuple[Gpu, ...]:
        """Return the GPUs, or () if there are none. Blocks for about a millisecond per GPU."""
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
        except Exception as error:  # noqa: BLE001 - a broken driver can raise anything
            self._retry_at = time.monotonic() + RETRY_AFTER if self._module is None else 0.0
            self._module = None
            self._say(str(error) or repr(error))
            return ()
        self._said = ""
        return found

    def _say(self, reason: str) -> None:
        """Log why no GPUs are visible, once per reason."""
        if reason != self._said:
            log.info("gpu.none_seen", reason=reason)
        self._said = reason

    def _open(self) -> Any:  # noqa: ANN401 - an optional module
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
        except Exception:  # noqa: BLE001 - the same as for the utilization
            return ""
        return uuid.decode() if isinstance(uuid, bytes) else str(uuid)

    def _use(self, handle: object) -> int | None:
        try:
            return int(self._module.nvmlDeviceGetUtilizationRates(handle).gpu)
        except Exception:  # noqa: BLE001 - unsupported GPUs raise different errors
            return None


class GpuAllocator:
    """Decides which GPUs an instance gets, and when.

    `look` is `Nvml.look`. `held` maps each running instance to its GPUs. `inherited` is the
    restriction that the daemon's own environment variables impose.
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
        """Return the value of `CUDA_VISIBLE_DEVICES` for an instance, or None for no restriction.

        A number is returned unchanged, even if no GPU is visible. With `again`, first waits up to
        `PATIENCE` seconds for the memory of the previous process to be released. Raises
        `UnresponsiveError` if the choice is `auto` and the driver does not answer.
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
        """Return why an instance cannot have these GPUs, by the last reading, or None."""
        if wish is None or wish == AUTO:
            return None
        return self._inherited.refusal(wish, self.seen) or unknown_gpu(wish, self.seen)

    def look(self) -> Sequence[Gpu]:
        """Read the GPUs and keep them for `refusal`. Blocks on the driver."""
        self.seen = self._look()
        return self.seen

    def take_over(self, instance: int, visible: str | None) -> None:
        """Record the GPUs that an earlier daemon assigned to an instance."""
        self.held[instance] = indices_of(visible, self.seen) if visible else ()

    def release(self, instance: int) -> None:
        """Record that an instance holds no GPU."""
        self.held.pop(instance, None)

    async def _settled(self, wanted: Collection[int]) -> None:
        """Wait until no more memory is being released on these GPUs, or on all if none is named."""
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
    """Return the index of the GPU with the most free memory; ties go to the fewest instances."""

    def order(gpu: Gpu) -> tuple[int, int, int]:
        instances = sum(gpu.index in each for each in held.values())
        return (-(gpu.memory_free // COARSE), instances, gpu.index)

    return min(gpus, key=order).index
