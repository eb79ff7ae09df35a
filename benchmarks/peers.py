"""The peers: supervisord, circus and pm2, each configured for the shortest possible delays.

They are installed into a temporary directory, or into a given one for reuse.
"""

import argparse
import json
import shutil
import subprocess
import tempfile
import time
import venv
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import TypeAlias

from benchmarks.stage import Stage
from benchmarks.supervisors import Supervisor

SETTLING = 0.05
"""Seconds from the start of a child to its kill; each peer restarts it at once after that."""
PATIENCE = 5.0
"""Seconds for a peer to exit after SIGTERM."""
CIRCUS_CHECK = 0.1
"""Seconds between two checks of the children by circus; its default is 5."""

SUPERVISORD = """\
[supervisord]
nodaemon=true
logfile={home}/supervisord.log
pidfile={home}/supervisord.pid
childlogdir={home}
[unix_http_server]
file={home}/supervisor.sock
[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface
"""
SUPERVISORD_CHILD = """\
[program:{port}]
command={child} --port {port}
autorestart=true
startsecs=0
redirect_stderr=true
stdout_logfile={log}
stdout_logfile_maxbytes=0
"""
CIRCUS = """\
[circus]
check_delay = {check}
endpoint = ipc://{home}/endpoint
pubsub_endpoint = ipc://{home}/pubsub
statsd = False
"""
CIRCUS_CHILD = """\
[watcher:{port}]
cmd = {child} --port {port}
copy_env = True
warmup_delay = 0
max_retry = -1
stdout_stream.class = FileStream
stdout_stream.filename = {log}
"""

Peer: TypeAlias = Callable[[Stage, Sequence[int]], AbstractContextManager[Supervisor]]


class Peers:
    """Peers installed in a directory."""

    def __init__(self, directory: Path) -> None:
        self._bin = directory / "venv" / "bin"
        self._pm2 = directory / "pm2" / "node_modules" / ".bin" / "pm2"
        if not (self._bin / "circusd").exists():
            venv.create(directory / "venv", with_pip=True)
            subprocess.run(
                [self._bin / "python", "-m", "pip", "-q", "install", "supervisor", "circus"],
                check=True,
            )
        if not self._pm2.exists() and shutil.which("npm"):
            (directory / "pm2").mkdir(exist_ok=True)
            (directory / "pm2" / "package.json").write_text('{"private": true}')
            subprocess.run(["npm", "install", "--silent", "pm2"], cwd=directory / "pm2", check=True)

    def all(self) -> list[Peer]:
        """Return a function for each peer; pm2 is included if npm is available."""
        return [self.supervisord, self.circus, *([self.pm2] if self._pm2.exists() else [])]

    @contextmanager
    def supervisord(self, stage: Stage, ports: Sequence[int]) -> Iterator[Supervisor]:
        with _home(stage, "supervisord") as home:
            text = SUPERVISORD.format(home=home) + _sections(SUPERVISORD_CHILD, stage, ports, home)
            (home / "conf").write_text(text)
            command = (self._bin / "supervisord", "-c", home / "conf")
            with _running(command, stage, ports, home) as supervisor:
                yield supervisor

    @contextmanager
    def circus(self, stage: Stage, ports: Sequence[int]) -> Iterator[Supervisor]:
        with _home(stage, "circus") as home:
            text = CIRCUS.format(home=home, check=CIRCUS_CHECK)
            (home / "ini").write_text(text + _sections(CIRCUS_CHILD, stage, ports, home))
            command = (self._bin / "circusd", home / "ini")
            with _running(command, stage, ports, home) as supervisor:
                yield supervisor

    @contextmanager
    def pm2(self, stage: Stage, ports: Sequence[int]) -> Iterator[Supervisor]:
        with _home(stage, "pm2") as home:
            environ = stage.environ | {"PM2_HOME": str(home)}
            apps = [_pm2_app(stage, port, home) for port in ports]
            (home / "apps.json").write_text(json.dumps({"apps": apps}))
            self._run_pm2(environ, "start", str(home / "apps.json"))
            try:
                stage.wait_for_all(ports)
                pid = int((home / "pm2.pid").read_text())
                yield Supervisor("pm2", pid, _log_in(home), _settle)
            finally:
                self._run_pm2(environ, "kill")

    def _run_pm2(self, environ: Mapping[str, str], *arguments: str) -> None:
        subprocess.run([self._pm2, *arguments], env=environ, check=True, stdout=subprocess.DEVNULL)


def add_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--peers",
        nargs="?",
        const="",
        metavar="DIR",
        help="also measure supervisord, circus and pm2; DIR keeps their installation",
    )


@contextmanager
def installed(chosen: str | None) -> Iterator[list[Peer]]:
    """Install the peers that the option selects, and yield them."""
    if chosen is None:
        yield []
        return
    directory = nullcontext(chosen) if chosen else tempfile.TemporaryDirectory(prefix="peers-")
    with directory as name:
        Path(name).mkdir(parents=True, exist_ok=True)
        yield Peers(Path(name).absolute()).all()


@contextmanager
def _home(stage: Stage, name: str) -> Iterator[Path]:
    home = stage.directory / name
    home.mkdir()
    yield home
    stage.clear()
    shutil.rmtree(home)


def _sections(template: str, stage: Stage, ports: Sequence[int], home: Path) -> str:
    log_of = _log_in(home)
    return "".join(template.format(port=p, child=stage.child, log=log_of(p)) for p in ports)


@contextmanager
def _running(
    command: Sequence[str | Path], stage: Stage, ports: Sequence[int], home: Path
) -> Iterator[Supervisor]:
    with (
        (home / "output").open("wb") as output,
        subprocess.Popen(command, env=stage.environ, stdout=output, stderr=output) as process,
    ):
        try:
            stage.wait_for_all(ports)
            yield Supervisor(home.name, process.pid, _log_in(home), _settle)
        finally:
            _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Terminate a peer; kill it after `PATIENCE`, as circus with this interval never exits."""
    process.terminate()
    try:
        process.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()


def _pm2_app(stage: Stage, port: int, home: Path) -> Mapping[str, object]:
    return {
        "name": str(port),
        "script": str(stage.child),
        "args": ["--port", str(port)],
        "interpreter": "none",
        "exec_mode": "fork",
        "restart_delay": 0,
        "min_uptime": 0,
        "max_restarts": 1_000_000,
        "out_file": str(_log_in(home)(port)),
        "merge_logs": True,
        "pmx": False,
        "vizion": False,
    }


def _log_in(home: Path) -> Callable[[int], Path]:
    return lambda port: home / f"{port}.log"


def _settle(_port: int) -> None:
    time.sleep(SETTLING)
