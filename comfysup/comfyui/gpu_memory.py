"""What a ComfyUI holds of each GPU, by its own word: a container hides from NVML whose what is."""

from comfysup.comfyui.client import ComfyClient, ComfyError
from comfysup.model.observed import GpuUsage

PATIENCE = 5.0
"""Seconds for an answer; one that is busy is asked again later."""


async def held_memory(client: ComfyClient, visible: tuple[int, ...]) -> tuple[GpuUsage, ...] | None:
    """Ask a ComfyUI which sees the GPUs `visible` (none: all, in their order).

    None where it did not answer.
    """
    try:
        answer = await client.system_stats(PATIENCE)
    except ComfyError:
        return None
    return None if answer is None else read_devices(answer, visible)


def read_devices(answer: object, visible: tuple[int, ...]) -> tuple[GpuUsage, ...]:
    """Return what the answer of /system_stats says; CPUs hold nothing of a GPU."""
    match answer:
        case {"devices": list(devices)}:
            found = (_read_device(device, visible) for device in devices)
            return tuple(each for each in found if each)
        case _:
            return ()


def _read_device(device: object, visible: tuple[int, ...]) -> GpuUsage | None:
    match device:
        case {"type": "cuda", "index": int(place), "torch_vram_total": int(held)}:
            index = visible[place] if 0 <= place < len(visible) else place
            return GpuUsage(index, held)
        case _:
            return None
