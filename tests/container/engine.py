"""Containers as tests use them: podman through the script beside this file, one network each."""

import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from tests.scenarios.waiting import HANG

HERE: Final = Path(__file__).parent
ROOT: Final = HERE.parent.parent
PODMAN: Final = HERE / "podman"
BASE: Final = "docker.io/library/debian:bookworm-slim"

ASK: Final = """
import json, sys, urllib.error, urllib.request
method, path, body = sys.argv[1:]
headers = {"Content-Type": "application/json"} if body else {}
url, data = "http://127.0.0.1:8001" + path, body.encode() or None
request = urllib.request.Request(url, data, headers, method=method)
try:
    answer = urllib.request.urlopen(request, timeout=120)
except urllib.error.HTTPError as error:
    answer = error
print(json.dumps([answer.status, json.load(answer)]))
"""
"""Asks the daemon from inside, where its port is."""


@dataclass(frozen=True, slots=True)
class Said:
    """The output and the exit code of a command."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()


def run(*command: object, within: float = 300, **variables: str) -> Said:
    # Not in the repository: what watches a container writes a file `oom` where it was started.
    with tempfile.TemporaryDirectory() as directory:
        done = subprocess.run(
            list(map(str, command)),
            capture_output=True,
            text=True,
            timeout=within,
            check=False,
            env={**os.environ, **variables},
            cwd=directory,
        )
    return Said(done.returncode, done.stdout, _without_noise(done.stderr))


def obstacle() -> str:
    """Return the reason why no container can run on this machine, or an empty text."""
    lacking = [name for name in ("podman", "buildah") if shutil.which(name) is None]
    if lacking:
        needed = "apt-get install podman buildah runc debootstrap"
        return f"there is no {' and no '.join(lacking)} here ({needed})"
    if os.geteuid() != 0:
        return "only root can run containers in this way"
    made = run(HERE / "base-image", within=300)
    if made.code:
        return f"there is no base image, and none can be made: {made.err.strip()[-300:]}"
    tried = run(PODMAN, "run", "--rm", BASE, "true")
    return f"no container can run here: {tried.err.strip()[-300:]}" if tried.code else ""


def build(tag: str, *options: str) -> None:
    built = run(PODMAN, "build", "--quiet", "--tag", tag, *options, within=600)
    assert built.code == 0, built.err[-3000:]


def remove(*tags: str) -> None:
    """Remove images except the base image."""
    for tag in tags:
        run(PODMAN, "rmi", "--force", tag)


class Container:
    """One container; `close` removes it with its volumes."""

    def __init__(self, image: str, *options: str) -> None:
        started = run(PODMAN, "run", "--detach", *options, image)
        assert started.code == 0, started.err
        self.id = started.out.strip()

    # ---- what is inside

    def exec(self, *command: str) -> Said:
        return run(PODMAN, "exec", self.id, *command)

    def as_written(self, line: str) -> Said:
        """Runs a line with `docker exec your-container` in it by a shell, as it stands."""
        path = f"{HERE / 'docker'}:{os.environ['PATH']}"
        return run("sh", "-c", line, PATH=path, CONTAINER=self.id)

    def ask(self, method: str, path: str, body: object = None) -> Any:  # noqa: ANN401 - JSON
        """Returns status and JSON of an answer of port 8001."""
        text = "" if body is None else json.dumps(body)
        said = self.exec("python3", "-c", ASK, method, path, text)
        assert said.code == 0, said
        return json.loads(said.out)

    def start_instances(self, *instances: dict[str, object]) -> Said:
        """Start instances over the unix socket, where `env` is allowed."""
        text = json.dumps({"instances": instances})
        return self.exec("/start_comfyui_multi.sh", "json", text)

    def instances(self) -> dict[int, dict[str, Any]]:
        said = self.exec("comfysup", "status", "--json")
        return {each["id"]: each for each in json.loads(said.out)} if said.code == 0 else {}

    def daemon_pid(self) -> int:
        """Return the pid of the daemon in the container, or 0."""
        said = self.exec("comfysup", "daemon", "show", "--json")
        return int(json.loads(said.out)["pid"]) if said.code == 0 else 0

    def signal(self, name: str, pid: int) -> None:
        """Signal a process by its pid in the container, which may lack the command `kill`."""
        sent = self.exec("sh", "-c", f"kill -{name} {pid}")
        assert sent.code == 0, sent

    def seconds_to_start(self) -> float:
        """Return the seconds from the start of the container until the daemon listened."""
        line = next(line for line in self.log().splitlines() if '"daemon.started"' in line)
        ready = datetime.fromisoformat(json.loads(line)["timestamp"])
        written = self.inspect('{{.State.StartedAt.UTC.Format "2006-01-02T15:04:05.000000Z"}}')
        return (ready - datetime.fromisoformat(written)).total_seconds()

    def seconds_of_work(self) -> float:
        """Return the CPU time of the daemon."""
        stat = self.exec("cat", f"/proc/{self.daemon_pid()}/stat").out.rpartition(")")[2].split()
        return (int(stat[11]) + int(stat[12])) / os.sysconf("SC_CLK_TCK")

    def zombies(self) -> list[str]:
        found = self.exec("sh", "-c", "grep -l '^State:.Z' /proc/[0-9]*/status || true")
        return found.lines

    # ---- its life

    def wait_until_healthy(self) -> None:
        until(lambda: self.exec("comfysup", "health").code == 0)

    def check_health(self) -> int:
        return run(PODMAN, "healthcheck", "run", self.id).code

    def inspect(self, what: str) -> str:
        return run(PODMAN, "inspect", "--format", what, self.id).out.strip()

    def stop(self) -> tuple[float, int]:
        """Stop the container as `docker stop` does; return the seconds and the exit code."""
        began = time.monotonic()
        stopped = run(PODMAN, "stop", "--time", "10", self.id)
        assert stopped.code == 0, stopped
        return time.monotonic() - began, int(self.inspect("{{.State.ExitCode}}"))

    def kill(self) -> None:
        assert run(PODMAN, "kill", self.id).code == 0
        until(lambda: self.inspect("{{.State.Running}}") == "false")

    def start(self) -> None:
        assert run(PODMAN, "start", self.id).code == 0

    def log(self) -> str:
        said = run(PODMAN, "logs", self.id)
        return said.out + said.err

    def read(self, path: str) -> str:
        """Return a file of a container, which may be stopped."""
        with tempfile.TemporaryDirectory() as directory:
            copied = run(PODMAN, "cp", f"{self.id}:{path}", f"{directory}/file")
            assert copied.code == 0, copied
            return Path(directory, "file").read_text()

    def close(self) -> None:
        run(PODMAN, "rm", "--force", "--time", "0", "--volumes", self.id)


def until(condition: Callable[[], object]) -> None:
    """Wait for a condition; each check starts a process."""
    give_up = time.monotonic() + HANG
    while not condition():
        assert time.monotonic() < give_up, f"not so after {HANG:g} s"
        time.sleep(0.05)


def _without_noise(text: str) -> str:
    """Remove podman's warnings about timers for health checks without systemd."""
    return "".join(line for line in text.splitlines(keepends=True) if "systemd" not in line)
