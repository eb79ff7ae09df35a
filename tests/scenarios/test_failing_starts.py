"""Failed starts: scenarios 2, 3 and 6."""

import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.scenarios import kernel
from tests.scenarios.client import API
from tests.scenarios.harness import Daemon
from tests.scenarios.programs import NEVER_READY, Program
from tests.scenarios.waiting import NEVER, until

ENDINGS = {
    "echo one; echo two; exit 1": (1, None),
    "echo one; echo two; exit 0": (0, None),
    "echo one; echo two; kill -SEGV $$": (None, "SIGSEGV"),
    "echo one; echo two; kill -KILL $$": (None, "SIGKILL"),
}


@pytest.mark.parametrize("script", ENDINGS, ids=lambda script: script.split("; ")[-1])
async def test_an_immediate_exit_is_a_failure_that_is_reported_in_full(
    daemon: Daemon, script: str
) -> None:
    """Scenario 2. The response follows the exit, long before the timeout of the caller."""
    Program(daemon.workspace, script=script)
    await daemon.start(backoff_initial=600, backoff_max=600)
    port = daemon.ports.reserve()

    answer = await daemon.api.start(0, port, wait={"timeout": NEVER})
    shown = await daemon.api.until(0, state="backoff")
    end = shown["last_exit"]

    assert (answer.status, answer.body["code"]) == (500, "start_failed")
    assert answer.detail.startswith("Failed to start instance: ")
    assert end["message"] in answer.detail
    assert "one\ntwo" in answer.detail
    assert ENDINGS[script] == (end["exit_code"], end["signal"])
    assert end["log_tail"] == ["one", "two"]
    assert not end["expected"]
    assert end["reason"]
    assert (shown["consecutive_failures"], shown["wanted"], shown["pid"]) == (1, True, None)
    assert shown["next_restart_at"]


async def test_each_instance_of_a_request_starts_or_fails_independently(daemon: Daemon) -> None:
    """Scenario 2, by the route that starts several."""
    Program(daemon.workspace, "good")
    Program(daemon.workspace, "bad", script="echo went wrong >&2; exit 3")
    await daemon.start()
    instances = [
        {"id": number, "port": daemon.ports.reserve(), "name": name, "environment": name}
        for number, name in enumerate(("good", "bad"))
    ]

    answer = await daemon.api.ask("POST", f"{API}/start-instances", {"instances": instances})
    good, bad = answer.body["results"]

    assert (answer.status, answer.body["started_instances"]) == (200, 1)
    assert (good["status"], bad["status"]) == ("started", "failed")
    assert "went wrong" in bad["error"]


async def test_the_exit_reason_comes_from_the_last_output(daemon: Daemon) -> None:
    """Scenario 2."""
    words = "ModuleNotFoundError: No module named 'torchsde'"
    Program(daemon.workspace, script=f'echo "{words}" >&2; exit 1')
    await daemon.start()

    answer = await daemon.api.start(0, daemon.ports.reserve(), restart="never")
    shown = await daemon.api.until(0, state="failed")

    assert "the Python module 'torchsde' is missing\nhint: install it into" in answer.detail
    assert shown["last_exit"]["reason"] == "missing_module"
    assert shown["last_exit"]["hint"] == "install it into the environment's venv"
    assert words in shown["last_exit"]["log_tail"]


async def test_the_last_lines_belong_to_the_last_process(daemon: Daemon) -> None:
    """Scenario 2: the log is appended to, and an earlier reason must not be reported again."""
    script = 'if [ -e "$said" ]; then exit 4; fi; say x; echo "first words"; exit 3'
    Program(daemon.workspace, script=script)
    await daemon.start()

    await daemon.api.start(0, daemon.ports.reserve(), backoff_initial=0.01, max_failures=2)
    shown = await daemon.api.until(0, state="failed")

    assert (shown["last_exit"]["exit_code"], shown["last_exit"]["log_tail"]) == (4, [])
    assert "first words" in daemon.instance_log(0)


async def test_a_timed_out_start_reports_that_the_instance_is_still_loading(
    daemon: Daemon,
) -> None:
    """Scenario 3: not before the timeout, and long before the startup timeout of the instance."""
    Program(daemon.workspace, script=NEVER_READY)
    await daemon.start(startup_timeout=NEVER)
    port = daemon.ports.reserve()
    body = {"instances": [{"id": 0, "port": port, "name": "slow"}]}

    asked = time.monotonic()
    several = await daemon.api.ask("POST", f"{API}/start-instances", body, timeout=0.4)
    took = time.monotonic() - asked
    single = await daemon.api.start(0, port, name="slow", wait={"timeout": 0.1})
    [result] = several.body["results"]

    assert took >= 0.4
    assert (result["status"], result["state"]) == ("timeout", "starting")
    assert (single.status, single.body["status"]) == (202, "starting")
    assert single.body["instance"]["pid"] == result["pid"]
    assert kernel.alive(result["pid"])


async def test_an_instance_that_does_not_become_ready_is_ended_at_the_startup_timeout(
    daemon: Daemon,
) -> None:
    """Scenario 3: it counts as a failure and is retried."""
    program = Program(daemon.workspace, script="say pid $$; " + NEVER_READY)
    await daemon.start()

    asked = time.monotonic()
    answer = await daemon.api.start(0, daemon.ports.reserve(), startup_timeout=0.5, max_failures=2)
    took = time.monotonic() - asked
    shown = await daemon.api.until(0, state="failed")

    assert took >= 0.5
    assert "not ready within 0.5 s" in answer.detail
    assert (shown["consecutive_failures"], shown["restarts"]) == (2, 1)
    assert shown["last_exit"]["reason"] == "startup_timeout"
    assert shown["last_exit"]["signal"] == "SIGINT"
    assert not [pid for pid in program.pids("pid") if kernel.alive(pid)]
    assert len(program.pids("pid")) == 2


def _no_main(environment: Path) -> str:
    (environment / "main.py").unlink()
    return f"{environment}/main.py"


def _no_python(environment: Path) -> str:
    (environment / "venv/bin/python").unlink()
    return f"{environment}/venv/bin/python"


def _python_that_cannot_be_executed(environment: Path) -> str:
    (environment / "venv/bin/python").chmod(0o644)
    return f"{environment}/venv/bin/python"


def _dangling_python(environment: Path) -> str:
    (environment / "venv/bin/python").unlink()
    (environment / "venv/bin/python").symlink_to("/nowhere/python")
    return "/nowhere/python"


def _no_environment(environment: Path) -> str:
    shutil.rmtree(environment)
    return str(environment)


@pytest.mark.parametrize(
    "damage",
    [_no_environment, _no_main, _no_python, _python_that_cannot_be_executed, _dangling_python],
)
async def test_an_unusable_environment_is_refused_with_the_invalid_path(
    daemon: Daemon, damage: Callable[[Path], str]
) -> None:
    """Scenario 6: no process is spawned, and no instance is added."""
    path = damage(Program(daemon.workspace).directory)
    await daemon.start()
    port = daemon.ports.reserve()

    single = await daemon.api.start(0, port)
    several = await daemon.api.ask(
        "POST", f"{API}/start-instances", {"instances": [{"id": 0, "port": port, "name": "x"}]}
    )
    [result] = several.body["results"]

    assert (single.status, single.body["code"]) == (404, "unknown_environment")
    assert path in single.detail
    assert (
        several.status,
        several.body["started_instances"],
        result["status"],
    ) == (200, 0, "error")
    assert path in result["error"]
    assert await daemon.api.show_all() == []
    assert not list(daemon.log_dir.glob("comfyui_*"))


async def test_a_missing_interpreter_fails_at_exec(daemon: Daemon) -> None:
    """Scenario 6: the file is executable, but its interpreter line names a missing file."""
    program = Program(daemon.workspace)
    program.python.write_text("#!/nowhere/interpreter\n")
    await daemon.start()

    answer = await daemon.api.start(0, daemon.ports.reserve(), restart="never")
    shown = await daemon.api.until(0, state="failed")

    assert (answer.status, answer.body["code"]) == (500, "start_failed")
    assert str(program.python) in answer.detail
    assert shown["last_exit"]["reason"] == "spawn_failed"
    assert (shown["last_exit"]["exit_code"], shown["last_exit"]["signal"]) == (None, None)


async def test_a_python_restored_during_a_back_off_is_used(daemon: Daemon) -> None:
    """Scenario 22: it is removed, and once it is restored the instance restarts by itself."""
    program = Program(daemon.workspace, script="exit 1")
    await daemon.start(backoff_initial=0.05, backoff_max=0.05, max_failures=1000)
    await daemon.api.start(0, daemon.ports.reserve())
    hidden = program.python.with_suffix(".hidden")

    program.python.rename(hidden)
    shown = await until_reason(daemon, "environment_unusable")
    program.write("serve")
    running = await daemon.api.until(0, state="running")

    assert str(program.python) in shown["last_exit"]["message"]
    assert running["restarts"] >= 2


async def until_reason(daemon: Daemon, reason: str) -> dict[str, Any]:
    await until(lambda: daemon.events("instance.exited", reason=reason))
    return await daemon.api.until(0, state="backoff")


async def test_a_gpu_that_is_hidden_from_the_daemon_is_refused(daemon: Daemon) -> None:
    Program(daemon.workspace)
    await daemon.start(variables={"CUDA_VISIBLE_DEVICES": "2,3"})
    refused = await daemon.api.start(0, daemon.ports.reserve(), gpu=0)
    known = await daemon.api.show_all()
    taken = await daemon.api.start(1, daemon.ports.reserve(), gpu="3")

    assert (refused.status, refused.body["code"]) == (409, "unknown_gpu")
    assert "GPU 0 is left out by CUDA_VISIBLE_DEVICES=2,3" in refused.detail
    assert (known, taken.status) == ([], 200)
