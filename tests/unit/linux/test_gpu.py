"""GPUs with a fake driver: these tests need no GPU."""

import asyncio
import threading
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from structlog.testing import capture_logs

from comfysup.linux.executor import Executor, UnresponsiveError
from comfysup.linux.host import gpu as module
from comfysup.linux.host.gpu import Gpu, GpuAllocator, Nvml, freest
from comfysup.linux.host.gpu_request import Inherited

GIB = 1 << 30


class FakeNvml:
    """The part of `pynvml` that is used."""

    def __init__(self, *used: int) -> None:
        self.used = list(used)
        self.error: Exception | None = None

    def nvmlInit(self) -> None:  # noqa: N802 - NVML's name
        if self.error:
            raise self.error

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802
        if self.error:
            raise self.error
        return len(self.used)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:  # noqa: N802
        return index

    def nvmlDeviceGetMemoryInfo(self, handle: int) -> Any:  # noqa: ANN401, N802
        return SimpleNamespace(total=24 * GIB, used=self.used[handle], free=0)

    def nvmlDeviceGetName(self, handle: int) -> bytes | str:  # noqa: N802
        return b"NVIDIA RTX" if handle else "NVIDIA H200"

    def nvmlDeviceGetUtilizationRates(self, handle: int) -> Any:  # noqa: ANN401, N802
        if handle:
            raise RuntimeError("Not Supported")
        return SimpleNamespace(gpu=37, memory=1)


def test_the_gpus_are_listed_as_reported_by_the_driver() -> None:
    nvml = FakeNvml(4 * GIB, 0)

    assert Nvml(lambda: nvml).look() == (
        Gpu(0, "NVIDIA H200", 24 * GIB, 4 * GIB, 37),
        Gpu(1, "NVIDIA RTX", 24 * GIB, 0, None),
    )


def missing() -> Any:  # noqa: ANN401
    raise ImportError("No module named 'pynvml'")


def without_driver() -> FakeNvml:
    nvml = FakeNvml()
    nvml.error = RuntimeError("Driver Not Loaded")
    return nvml


@pytest.mark.parametrize("load", [missing, without_driver])
def test_without_a_driver_no_gpu_is_listed_and_this_is_logged_once(load: Any) -> None:  # noqa: ANN401
    nvml = Nvml(load)

    with capture_logs() as said:
        assert [nvml.look() for _ in range(3)] == [(), (), ()]

    assert [each["event"] for each in said] == ["gpu.none_seen"]


def test_a_failed_driver_is_queried_again() -> None:
    fake = FakeNvml(0)
    nvml = Nvml(lambda: fake)
    assert len(nvml.look()) == 1
    fake.error = RuntimeError("GPU is lost")
    assert nvml.look() == ()
    fake.error = None

    assert len(nvml.look()) == 1


def test_a_driver_that_cannot_be_loaded_is_retried(monkeypatch: pytest.MonkeyPatch) -> None:
    """A transient error must not disable the GPUs until the daemon is restarted."""
    monkeypatch.setattr(module, "RETRY_AFTER", 0.0)
    fake = FakeNvml(0)
    fake.error = RuntimeError("Unknown Error")
    nvml = Nvml(lambda: fake)
    with capture_logs() as said:
        assert [nvml.look() for _ in range(3)] == [(), (), ()]
    fake.error = None

    assert len(said) == 1
    assert len(nvml.look()) == 1


async def test_a_hanging_driver_delays_only_auto_and_for_a_bounded_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "PATIENCE", 0.05)
    answers = threading.Event()
    driver = Executor("the GPU driver", 1)
    desk = GpuAllocator(lambda: (answers.wait(), ())[1], driver.submit)

    assert await desk.assign(0, "1", again=True) == "1"
    with pytest.raises(UnresponsiveError, match="the GPU driver has not answered for"):
        await desk.assign(1, "auto", again=False)
    answers.set()
    driver.shutdown()


def gpus(*free: float) -> tuple[Gpu, ...]:
    total = 24 * GIB
    return tuple(Gpu(n, "", total, total - int(each * GIB)) for n, each in enumerate(free))


@pytest.mark.parametrize(
    ("free", "held", "chosen"),
    [
        ((4, 20, 8), {}, 1),
        ((20.4, 20.1, 20.3), {}, 0),
        ((20, 20, 20), {0: (0,), 1: (1,)}, 2),
        ((20.9, 20.1), {0: (0,)}, 1),
        ((4, 20), {0: (1,), 1: (1,), 2: (1,)}, 1),
        ((20, 20), {0: (0, 1), 1: (0,)}, 1),
    ],
)
def test_auto_is_the_freest_and_then_that_with_the_fewest_instances(
    free: Sequence[float], held: dict[int, tuple[int, ...]], chosen: int
) -> None:
    assert freest(gpus(*free), held) == chosen


def desk(look: Any) -> GpuAllocator:  # noqa: ANN401
    return GpuAllocator(look, asyncio.to_thread)


async def test_instances_that_start_together_are_spread() -> None:
    """None of them has allocated memory yet."""
    at = desk(lambda: gpus(24, 24, 24))

    chosen = [await at.assign(number, "auto", again=False) for number in range(6)]

    assert sorted(map(str, chosen)) == ["0", "0", "1", "1", "2", "2"]


async def test_a_released_instance_frees_its_gpu() -> None:
    at = desk(lambda: gpus(24, 24))
    await at.assign(0, "auto", again=False)
    await at.assign(1, "auto", again=False)

    at.release(0)

    assert await at.assign(2, "auto", again=False) == "0"


@pytest.mark.parametrize("wish", [None, "1", "0,7", ""])
async def test_named_gpus_are_passed_unchanged(wish: str | None) -> None:
    assert await desk(lambda: ()).assign(0, wish, again=True) == wish


async def test_auto_without_a_gpu_names_none() -> None:
    assert await desk(lambda: ()).assign(0, "auto", again=False) is None


class Returning:
    """A GPU to which a dead process returns its memory gradually."""

    def __init__(self, *free: float) -> None:
        self.free = list(free)
        self.looks = 0

    def __call__(self) -> tuple[Gpu, ...]:
        self.looks += 1
        return gpus(self.free.pop(0) if len(self.free) > 1 else self.free[0])


async def test_memory_being_released_is_awaited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOOK_PERIOD", 0.001)
    driver = Returning(2, 9, 17, 22, 22)
    at = desk(driver)
    await at.assign(0, "0", again=False)

    await at.assign(0, "0", again=True)

    assert driver.free == [22]


async def test_memory_used_by_other_programs_is_not_awaited(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "LOOK_PERIOD", 0.001)
    driver = Returning(2)
    at = desk(driver)

    await at.assign(0, "0", again=True)

    assert driver.looks == 2


async def test_a_wait_for_memory_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOOK_PERIOD", 0.001)
    monkeypatch.setattr(module, "PATIENCE", 0.05)
    driver = Returning(*(number * 0.02 for number in range(1000)))

    with capture_logs() as said:
        await desk(driver).assign(0, "0", again=True)

    assert [each["event"] for each in said] == ["gpu.memory_not_given_back"]


async def test_an_unknown_gpu_is_refused_once_the_driver_has_answered() -> None:
    desk = GpuAllocator(lambda: (Gpu(0, "x", 1, 0, uuid="GPU-a"),), asyncio.to_thread)
    before = desk.refusal("3")
    await asyncio.to_thread(desk.look)

    assert before is None
    assert desk.refusal("3") == "there is no GPU 3; the driver knows: 0 (GPU-a)"
    assert [desk.refusal(wish) for wish in ("0", "GPU-a", "auto", None)] == [None] * 4


async def test_auto_chooses_among_the_visible_devices_of_the_daemon() -> None:
    cards = (Gpu(0, "x", 24 * GIB, 0), Gpu(1, "x", 24 * GIB, 8 * GIB, uuid="GPU-b"))
    desk = GpuAllocator(
        lambda: cards, asyncio.to_thread, Inherited({"CUDA_VISIBLE_DEVICES": "GPU-b"})
    )

    assert await desk.assign(0, "auto", again=False) == "1"
    assert desk.refusal("0") is not None


async def test_a_gpu_given_by_uuid_counts_as_in_use() -> None:
    cards = (Gpu(0, "x", 24 * GIB, 0, uuid="GPU-a"), Gpu(1, "x", 24 * GIB, 0, uuid="GPU-b"))
    desk = GpuAllocator(lambda: cards, asyncio.to_thread)
    await asyncio.to_thread(desk.look)

    assert await desk.assign(0, "GPU-a", again=False) == "GPU-a"
    assert desk.held == {0: (0,)}
