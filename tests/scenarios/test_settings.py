"""Invalid settings: at a first start, and at later ones."""

import asyncio
import os
import re
import resource
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import aiohttp
import pytest

from comfysup.linux.host.address_space import NEEDED
from tests.scenarios.client import API
from tests.scenarios.harness import SERVE, Daemon
from tests.scenarios.programs import Program
from tests.scenarios.waiting import bounded


async def end_of(daemon: Daemon, **variables: str) -> tuple[int, str]:
    """Start a daemon that cannot start; return its exit code and output."""
    process = await daemon.spawn(variables=variables)
    try:
        async with asyncio.timeout(60):
            code = await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
    return code, (daemon.root / "daemon.log").read_text()


async def status_without_token(daemon: Daemon) -> int:
    url = f"http://127.0.0.1:{daemon.port}{API}/status"
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        return answer.status


async def test_a_first_start_exits_with_all_errors(daemon: Daemon) -> None:
    code, said = await end_of(daemon, COMFYSUP_LOG_KEEP="x", COMFYSUP_TOKEN_FILE="/none")

    assert code == 2
    assert "2 settings are wrong" in said
    assert "COMFYSUP_LOG_KEEP must be" in said
    assert "COMFYSUP_TOKEN_FILE cannot be read" in said


async def test_a_restarted_daemon_uses_the_last_valid_settings(
    daemon: Daemon,
) -> None:
    """The token of a removed file is still required, and is not stored."""
    file = daemon.root / "token"
    file.write_text("hunter2")
    guarded = {"COMFYSUP_TOKEN_FILE": str(file), "COMFYSUP_PROBE_FAILURES": "77"}
    Program(daemon.workspace)
    await daemon.start(variables=guarded)
    await daemon.api.start(0, daemon.ports.reserve())
    before = await daemon.api.until(0, state="running")
    await daemon.kill()
    file.unlink()

    await daemon.start(variables={**guarded, "COMFYSUP_PROBE_FAILURES": "many"})
    facts = (await daemon.api.ask("GET", f"{API}/daemon")).body
    after = await daemon.api.until(0, state="running")

    (trouble,) = facts["troubles"]
    assert "COMFYSUP_TOKEN_FILE cannot be read" in trouble
    assert "COMFYSUP_PROBE_FAILURES must be" in trouble
    assert facts["settings"]["policy"]["probe_failures"] == 77
    assert await status_without_token(daemon) == 401
    assert before["pid"] == after["pid"]
    assert "hunter2" not in (daemon.run_dir / "settings.json").read_text()


async def test_a_start_after_a_clean_shutdown_is_a_first_start(daemon: Daemon) -> None:
    await daemon.start()
    daemon.signal(signal.SIGTERM)
    assert await daemon.ended() == 0

    code, _ = await end_of(daemon, COMFYSUP_LOG_KEEP="x")

    assert code == 2


async def test_a_host_that_does_not_exist_is_reported(daemon: Daemon) -> None:
    code, said = await end_of(daemon, COMFYSUP_HOST="nosuch.invalid")

    assert code == 1
    assert "cannot listen on nosuch.invalid" in said
    assert "no such host" in said


async def test_a_lock_that_is_a_directory_is_reported(daemon: Daemon) -> None:
    (daemon.run_dir / "daemon.lock").mkdir(parents=True)
    daemon.run_dir.chmod(0o700)

    code, said = await end_of(daemon)

    assert code == 1
    assert "daemon.lock" in said


@contextmanager
def small_disk(path: Path, options: str) -> Iterator[None]:
    path.mkdir(mode=0o700)
    mount = ["mount", "-t", "tmpfs", "-o", f"{options},mode=700", "none", str(path)]
    if shutil.which("mount") is None or subprocess.run(mount, check=False).returncode != 0:
        pytest.skip("cannot mount here")
    yield
    subprocess.run(["umount", "--lazy", str(path)], check=True)


async def test_an_unwritable_run_directory_ends_the_start_with_the_reason(
    daemon: Daemon,
) -> None:
    with small_disk(daemon.run_dir, "nr_inodes=3"):
        code, said = await end_of(daemon)

    assert code == 1
    assert "No space left on device" in said
    assert "Traceback" not in said


async def test_a_restarted_daemon_works_with_a_full_run_directory(daemon: Daemon) -> None:
    with small_disk(daemon.run_dir, "size=64k"):
        Program(daemon.workspace)
        await daemon.start()
        await daemon.api.start(0, daemon.ports.reserve())
        before = await daemon.api.until(0, state="running")
        await daemon.kill()
        fill(daemon.run_dir)

        await daemon.start()
        after = await daemon.api.until(0, state="running")
        (daemon.run_dir / "filler").unlink()
        await daemon.api.until_well()
        daemon.signal(signal.SIGTERM)
        assert await daemon.ended() == 0

    assert before["pid"] == after["pid"]


async def test_a_shared_run_directory_has_a_subdirectory_for_each_user(daemon: Daemon) -> None:
    """An emptyDir of Kubernetes; the command line finds the daemon there."""
    daemon.run_dir.mkdir()
    daemon.run_dir.chmod(0o777)
    given = str(daemon.run_dir)
    daemon.run_dir /= f"comfysup-{os.geteuid()}"

    await daemon.start(variables={"COMFYSUP_RUN_DIR": given})

    environ = {**os.environ, "COMFYSUP_RUN_DIR": given}
    command = await asyncio.create_subprocess_exec(*SERVE[:-1], "health", env=environ)
    assert await command.wait() == 0
    assert os.stat(given).st_mode & 0o777 == 0o777  # noqa: PTH116 - a string


def fill(disk: Path) -> None:
    with (disk / "filler").open("wb", buffering=0) as file:
        for size in (4096, 1):
            with suppress(OSError):
                while file.write(bytes(size)):
                    pass


LIMITS = {"-v 400000": "ulimit -v", "-v 200000": "ulimit -v", "-d 200000": "ulimit -d"}


@pytest.mark.parametrize(("limit", "named"), LIMITS.items(), ids=LIMITS)
async def test_a_too_low_memory_limit_is_reported_at_startup(
    daemon: Daemon, limit: str, named: str
) -> None:
    """Otherwise a thread would fail at its start and block the daemon."""
    process = await asyncio.create_subprocess_exec(
        *("sh", "-c", f'ulimit {limit}; exec "$@"', "sh", *SERVE),
        env=daemon._environ({}),
        stderr=subprocess.PIPE,
    )
    async with bounded():
        _, said = await process.communicate()

    assert process.returncode == 2
    assert said.decode().count("\n") == 1
    assert said.decode().startswith("comfysup: cannot run: the limit of ")
    assert named in said.decode()


async def test_the_required_address_space_is_sufficient(daemon: Daemon) -> None:
    needed = NEEDED[resource.RLIMIT_AS][0]
    Program(daemon.workspace)
    await daemon.start()
    await daemon.api.start(0, daemon.ports.reserve())
    await daemon.api.until(0, state="running")

    assert daemon.pid
    assert peak_address_space(daemon.pid) < needed


def peak_address_space(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    (peak,) = re.findall(r"^VmPeak:\s*(\d+) kB$", status, re.MULTILINE)
    return int(peak) << 10
