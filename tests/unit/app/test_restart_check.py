"""The check of a restart in place in a child process, with a result in every case."""

import asyncio
import os
import sys
import threading
from pathlib import Path

import pytest

from comfysup.app.restart_check import RestartCheck, findings
from tests.scenarios.waiting import until


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    return {
        "COMFYSUP_RUN_DIR": str(tmp_path / "run"),
        "COMFYSUP_INSTANCES_FILE": str(tmp_path / "instances.json"),
    }


def test_a_valid_configuration_has_no_problems(environ: dict[str, str]) -> None:
    assert findings(environ) == []


def test_all_problems_are_reported_together(environ: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "instances.json").write_text("{")
    (tmp_path / "run").write_text("")
    environ.update(COMFYSUP_TOKEN_FILE="/none", COMFYSUP_LOG_KEEP="x")

    found = findings(environ)

    assert [each.split()[0] for each in found] == [
        "COMFYSUP_LOG_KEEP",
        "COMFYSUP_TOKEN_FILE",
        f"{tmp_path}/instances.json:",
        "cannot",
    ]


CHILDREN = {
    'print(\'{"findings": ["one"]}\')': ["one"],
    "print('noise'); print('{\"findings\": []}')": [],
    "import nosuch": [
        "the new program does not run: ModuleNotFoundError: No module named 'nosuch'"
    ],
    "print('[]')": ["the new program does not run: no reason given"],
    "import os; os.kill(os.getpid(), 9)": ["the new program does not run: no reason given"],
}


@pytest.mark.parametrize(("code", "expected"), CHILDREN.items())
async def test_the_findings_of_the_child_are_returned(
    monkeypatch: pytest.MonkeyPatch, code: str, expected: list[str]
) -> None:
    monkeypatch.setattr("comfysup.app.restart_check.command", lambda: [sys.executable, "-c", code])

    assert await RestartCheck().run(os.environ) == expected


async def test_a_missing_interpreter_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("comfysup.app.restart_check.command", lambda: ["/none/python"])

    found = await RestartCheck().run(os.environ)

    assert found == ["cannot run /none/python: No such file or directory"]


async def test_a_check_that_cannot_start_a_thread_refuses_the_restart(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)

    [reason] = await RestartCheck().run(os.environ)

    assert reason.startswith("cannot start a thread: the limit of processes")


async def test_a_hanging_check_is_killed_at_its_limit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("comfysup.app.restart_check.command", lambda: ["sleep", "3600"])
    monkeypatch.setattr("comfysup.app.restart_check.PATIENCE", 0.05)

    assert await RestartCheck().run(os.environ) == ["sleep 3600 has not answered for 0.05 s"]


async def test_a_cancelled_check_leaves_no_child(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pid = tmp_path / "pid"
    script = f"echo $$ > {pid}.new; mv {pid}.new {pid}; exec sleep 3600"
    monkeypatch.setattr("comfysup.app.restart_check.command", lambda: ["sh", "-c", script])
    task = asyncio.create_task(RestartCheck().run(os.environ))
    await until(pid.exists)

    task.cancel()
    await asyncio.wait([task])
    child = int(pid.read_text())
    await until(lambda: not alive(child))

    assert task.cancelled()
    assert not alive(child)


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
