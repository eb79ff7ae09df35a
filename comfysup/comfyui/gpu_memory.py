"""GPU memory of a ComfyUI as it reports itself; in a container NVML hides the processes."""

from comfysup.comfyui.client import ComfyClient, ComfyError
from comfysup.model.observed import GpuUsage

PATIENCE = 5.0
"""Seconds for a response. A busy ComfyUI is asked again later."""


async def held_memory(client: ComfyClient, visible: tuple[int, ...]) -> tuple[GpuUsage, ...] | None:
    """Return the GPU memory of a ComfyUI that sees the GPUs `visible` (empty: all, in order).

    Returns None if it did not answer.
    """
    try:
        answer = await client.system_stats(PATIENCE)
    except ComfyError:
        return None
    return None if answer is None else read_devices(answer, visible)


def read_devices(answer: object, visible: tuple[int, ...]) -> tuple[GpuUsage, ...]:
    """Return the GPU usage in a response of /system_stats; CPUs are skipped."""
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
