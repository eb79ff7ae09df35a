"""The test bed of a supervisor: a temporary workspace, and children that report their start."""

import os
import select
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

ENVIRONMENT = "comm"
PACKAGES = 300
"""Number of installed packages, as with some custom nodes; each has two directories."""
CUSTOM_NODES = 30
FLAGS = ("--listen", "--port", "--temp-directory", "--database-url", "--user-directory")
FIRST_PORT = 20_000
"""Below the ephemeral ports of the kernel (ip_local_port_range)."""
RECORD = struct.Struct("=qqq")
"""The record that a child writes at its start: port, pid, time; one write(2), hence atomic."""
PATIENCE = 30.0
"""Timeout in seconds for a start of a child, and for a response."""


@dataclass(frozen=True, slots=True)
class Start:
    """One start of a child; `at` is nanoseconds of the monotonic clock, as the child read it."""

    port: int
    pid: int
    at: int


class Stage:
    """A workspace with one environment, whose interpreter is the child of `child.c`.

    The environment has as many packages and custom nodes as a typical one, all empty, because a
    supervisor may scan them. `ports` are free when the stage is built. `environ` is the environment
    of the supervisors, which pass it on to the children.
    """

    def __init__(self, directory: Path, count: int) -> None:
        self.directory = directory
        self.environment = directory / f"ComfyUI-{ENVIRONMENT}"
        self.child = self.environment / "venv" / "bin" / "python"
        self.ports = _free_ports(count)
        self._fifo = directory / "starts"
        os.mkfifo(self._fifo)
        self._starts = os.open(self._fifo, os.O_RDWR | os.O_CLOEXEC)
        inherited = {key: value for key, value in os.environ.items() if "COMFY" not in key}
        self.environ = inherited | {"BENCH_STARTS": str(self._fifo)}
        self._last: dict[int, Start] = {}

    def start_of(self, port: int) -> Start:
        """Return the last start of the child with that port."""
        return self._last[port]

    def next_start(self, port: int) -> Start:
        """Wait for the next start of that child; raises TimeoutError."""
        while select.select([self._starts], [], [], PATIENCE)[0]:
            start = Start(*RECORD.unpack(os.read(self._starts, RECORD.size)))
            self._last[start.port] = start
            if start.port == port:
                return start
        raise TimeoutError(f"the child with port {port} was not started")

    def wait_for_all(self, ports: Iterable[int]) -> None:
        """Wait until the child of each port has started once."""
        for port in ports:
            if port not in self._last:
                self.next_start(port)

    def clear(self) -> None:
        """Kill children that a supervisor left behind, and forget all starts."""
        for start in self._last.values():
            if _program_of(start.pid) == self.child:
                os.kill(start.pid, signal.SIGKILL)
        self._last.clear()

    def close(self) -> None:
        os.close(self._starts)


@contextmanager
def built_stage(count: int) -> Iterator[Stage]:
    """Build a stage with `count` ports, and remove it afterwards. Needs a C compiler, `cc`."""
    with (
        tempfile.TemporaryDirectory(prefix="bench-") as name,
        closing(Stage(Path(name), count)) as stage,
    ):
        _fill(stage)
        yield stage


def _fill(stage: Stage) -> None:
    if shutil.which("cc") is None:
        raise SystemExit("cannot build the child: no C compiler (on Debian: apt install gcc)")
    packages = stage.environment / "venv" / "lib" / "python3.11" / "site-packages"
    nodes = stage.environment / "custom_nodes"
    for number in range(PACKAGES):
        (packages / f"package_{number}").mkdir(parents=True)
        (packages / f"package_{number}-1.0.dist-info").mkdir()
    (packages / "torch-2.8.0.dist-info").mkdir()
    for number in range(CUSTOM_NODES):
        (nodes / f"node_{number}").mkdir(parents=True)
    (stage.environment / "comfy").mkdir()
    flags = "".join(f"parser.add_argument({flag!r})\n" for flag in FLAGS)
    (stage.environment / "comfy" / "cli_args.py").write_text(flags)
    (stage.environment / "main.py").touch()
    (stage.environment / "comfyui_version.py").write_text('__version__ = "0.3.64"\n')
    stage.child.parent.mkdir()
    source = Path(__file__).with_name("child.c")
    subprocess.run(["cc", "-O2", "-static", "-o", stage.child, source], check=True)


def _program_of(pid: int) -> Path | None:
    try:
        return Path(f"/proc/{pid}/exe").readlink()
    except OSError:
        return None


def _free_ports(count: int) -> tuple[int, ...]:
    found: list[int] = []
    port = FIRST_PORT
    while len(found) < count:
        with socket.socket() as looker:
            looker.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if looker.connect_ex(("127.0.0.1", port)) != 0:
                found.append(port)
        port += 1
    return tuple(found)
