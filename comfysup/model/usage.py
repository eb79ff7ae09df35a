"""What a process tree uses. The API shows these facts as they stand."""

from dataclasses import dataclass


@dataclass(frozen=True)
class GpuUsage:
    """The memory that torch has reserved of one GPU; `index` as the driver counts GPUs."""

    index: int
    memory_bytes: int


@dataclass(frozen=True)
class Usage:
    """What a process and all that descends from it use; 100 per cent are one core.

    Memory that processes share is counted for each of them, as `top` does.
    """

    cpu_percent: float
    rss_bytes: int
    processes: int
    gpus: tuple[GpuUsage, ...] = ()
