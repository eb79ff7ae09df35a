"""Identity of the current boot. Pids are valid only within one boot."""

from dataclasses import dataclass
from pathlib import Path

from comfysup.linux.process.proc import read_stat


@dataclass(frozen=True, slots=True)
class BootIdentity:
    """The kernel's boot id and the start time of PID 1, which changes when a container restarts."""

    boot_id: str
    init_start_time: int

    @classmethod
    def current(cls) -> "BootIdentity":
        boot_id = Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
        init = read_stat(1)
        return cls(boot_id, init.start_time if init else 0)
