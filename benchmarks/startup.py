"""Startup time of the daemon, and run time of single commands."""

import argparse
import re
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.figures import Figures, milliseconds, show
from benchmarks.stage import PATIENCE, Stage, built_stage
from benchmarks.supervisors import a_free_port, comfysup, comfysup_daemon, daemon_environ

COMFYSUP = str(Path(sys.executable).with_name("comfysup"))
IMPORT = re.compile(r"^import time: +(\d+) \| +(\d+) \| ( *)(\S+)$", re.MULTILINE)
COMMANDS: Mapping[str, Sequence[str]] = {
    "python -c pass": (sys.executable, "-c", "pass"),
    "python -c 'import socket'": (sys.executable, "-c", "import socket"),
    "comfysup health": (COMFYSUP, "health"),
    "comfysup status": (COMFYSUP, "status"),
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.startup", description=__doc__)
    parser.add_argument("--children", type=int, default=50)
    parser.add_argument("--starts", type=int, default=15, help="number of daemon starts")
    parser.add_argument("--runs", type=int, default=40, help="number of runs of each command")
    options = parser.parse_args()
    with built_stage(options.children) as stage:
        starts = Figures([_start(stage)[0] for _ in range(options.starts)])
        log = _start(stage, "-X", "importtime")[1]
        with (
            comfysup_daemon(stage) as daemon,
            comfysup(stage, stage.ports, daemon),
        ):
            commands = _commands(daemon.environ, options.runs)
    headings = ("process", "median ms", "worst ms")
    show("Processes", headings, [_row("comfysup serve, until the API responds", starts), *commands])
    show("Imports of comfysup serve", ("package", "ms"), _imports(log))


def _start(stage: Stage, *options: str) -> tuple[float, str]:
    """Start a daemon; return the seconds until it responded, and its stderr.

    `options` are options of Python.
    """
    port = a_free_port()
    environ = daemon_environ(stage, port)
    file = stage.directory / "startup.log"
    with file.open("wb") as log:
        began = time.perf_counter()
        command = (sys.executable, *options, COMFYSUP, "serve")
        process = subprocess.Popen(command, env=environ, stderr=log)
        wait_for_answer(port)
        took = time.perf_counter() - began
        process.send_signal(signal.SIGTERM)
        process.wait()
    return took, file.read_text()


def wait_for_answer(port: int) -> None:
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        with socket.socket() as connection:
            if connection.connect_ex(("127.0.0.1", port)) == 0:
                connection.sendall(b"GET /livez HTTP/1.0\r\n\r\n")
                if connection.recv(64).split()[1:2] == [b"200"]:
                    return
        time.sleep(0.001)
    raise TimeoutError("the daemon does not respond")


def _commands(environ: Mapping[str, str], runs: int) -> list[tuple[str, ...]]:
    """Run the commands in turn, so that other load on the machine affects all of them."""
    seconds: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(runs):
        for name, command in COMMANDS.items():
            began = time.perf_counter()
            subprocess.run(command, env=environ, check=True, stdout=subprocess.DEVNULL)
            seconds[name].append(time.perf_counter() - began)
    return [_row(name, Figures(each)) for name, each in seconds.items()]


def _row(name: str, figures: Figures) -> tuple[str, str, str]:
    return name, milliseconds(figures.median), milliseconds(max(figures.seconds))


def _imports(log: str) -> list[tuple[str, str]]:
    """Return the import time of each package; the standard library counts as one."""
    shares: Counter[str] = Counter()
    for own, _, _, module in IMPORT.findall(log):
        package = module.partition(".")[0]
        standard = package in sys.stdlib_module_names
        shares["the standard library" if standard else package] += int(own)
    rows = [(name, milliseconds(own / 1e6)) for name, own in shares.most_common(12)]
    return [*rows, ("all", milliseconds(shares.total() / 1e6))]


if __name__ == "__main__":
    main()
