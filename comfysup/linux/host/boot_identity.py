"""Which life of which container this is: pids mean nothing in another."""

from dataclasses import dataclass
from pathlib import Path

from comfysup.linux.process.proc import read_stat


@dataclass(frozen=True, slots=True)
class BootIdentity:
    """The boot of the kernel, and when PID 1 started: a container started again has another."""

    boot_id: str
    init_start_time: int

    @classmethod
    def current(cls) -> "BootIdentity":
        boot_id = Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
        init = read_stat(1)
        return cls(boot_id, init.start_time if init else 0)
