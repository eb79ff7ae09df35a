"""The NVIDIA GPUs of this machine, as its driver tells of them (NVML).

Without a driver, a GPU or the package there are none, which is said once and hinders nothing. NVML
counts GPUs in the order of their PCI addresses, as CUDA does under `CUDA_DEVICE_ORDER=PCI_BUS_ID`.
"""

import asyncio
import importlib
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import structlog

log = structlog.get_logger()

AUTO = "auto"
COARSE = 1 << 30
"""Bytes below which two GPUs count as equally free: what a driver needs differs by that."""
SETTLING = 16 << 20
"""Bytes that must become free between two looks for memory to count as still being given back."""
LOOK_PERIOD = 0.05
PATIENCE = 5.0
"""Seconds for which the memory of a dead process is waited for at most."""

T = TypeVar("T")


class InThread(Protocol):
    """Has something done in a thread."""

    def __call__(self, work: Callable[[], T], /) -> Awaitable[T]: ...


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU at one moment; `use_percent` is None where the driver does not tell."""

    index: int
    name: str
    memory_total: int
    memory_used: int
    use_percent: int | None = None

    @property
    def memory_free(self) -> int:
        return self.memory_total - self.memory_used


class Nvml:
    """Looks at the GPUs; `load` gives the module `pynvml`, or raises ImportError."""

    def __init__(self, load: Callable[[], Any] = lambda: importlib.import_module("pynvml")) -> None:
        self._load = load
        self._module: Any = None
        self._hopeless = False

    def look(self) -> tuple[Gpu, ...]:
        """Return the GPUs; none where there are none. Blocks for about a millisecond each."""
        if self._hopeless:
            return ()
        try:
            if self._module is None:
                self._module = self._open()
            return tuple(self._gpu(place) for place in range(self._module.nvmlDeviceGetCount()))
        except Exception as error:  # noqa: BLE001 - the errors of a driver that may be broken
            self._hopeless = self._module is None
            self._module = None
            log.info("gpu.none_seen", reason=str(error) or repr(error))
            return ()

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
        )

    def _use(self, handle: object) -> int | None:
        try:
            return int(self._module.nvmlDeviceGetUtilizationRates(handle).gpu)
        except Exception:  # noqa: BLE001 - some GPUs do not tell, each with an error of its own
            return None


class GpuDesk:
    """Says which GPUs an instance gets, and when.

    `look` is that of `Nvml`; `held` are the GPUs of each instance that has some now.
    """

    def __init__(self, look: Callable[[], Sequence[Gpu]], in_thread: InThread) -> None:
        self._look = look
        self._in_thread = in_thread
        self.held: dict[int, tuple[int, ...]] = {}

    async def assign(self, instance: int, wish: str | None, *, again: bool) -> str | None:
        """Return the value of `CUDA_VISIBLE_DEVICES` for an instance; None: all it can see.

        A number is passed as it is, also where no GPU is seen. Started `again`, it gets time for
        the memory of its last process to come back.
        """
        before = self.held.pop(instance, ())
        if again:
            await self._settled(before)
        if wish != AUTO:
            self.held[instance] = indices(wish)
            return wish
        gpus = await self._in_thread(self._look)
        if not gpus:
            return None
        chosen = freest(gpus, self.held)
        self.held[instance] = (chosen,)
        return str(chosen)

    def take_over(self, instance: int, visible: str | None) -> None:
        """Note what an instance was given by an earlier daemon."""
        self.held[instance] = indices(visible)

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
        except TimeoutError:
            log.warning("gpu.memory_not_given_back", gpus=list(wanted))

    async def _free(self, wanted: Collection[int]) -> int | None:
        gpus = await self._in_thread(self._look)
        mine = [gpu.memory_free for gpu in gpus if not wanted or gpu.index in wanted]
        return sum(mine) if mine else None


def freest(gpus: Sequence[Gpu], held: Mapping[int, Collection[int]]) -> int:
    """Return the GPU with the most free memory; among equals that with the fewest instances."""

    def order(gpu: Gpu) -> tuple[int, int, int]:
        instances = sum(gpu.index in each for each in held.values())
        return (-(gpu.memory_free // COARSE), instances, gpu.index)

    return min(gpus, key=order).index


def indices(wish: str | None) -> tuple[int, ...]:
    """Return the GPUs that a value of `CUDA_VISIBLE_DEVICES` names by number."""
    return tuple(int(each) for each in (wish or "").split(",") if each.strip().isdigit())
