import os
import signal
import socket
from contextlib import suppress
from pathlib import Path

import aiohttp
import pytest

from comfysup.demo.workspace import build_environment
from tests.contracts.comfyui.conftest import Start
from tests.contracts.comfyui.running import PREVIEW, Running, node, sleep
from tests.scenarios.waiting import bounded


def alive(pid: int) -> bool:
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z"


async def relative(running: Running, kind: str) -> int:
    return int((await running.says(f"standin: {kind} is")).split()[-1])


async def test_sigint_cleans_up_and_exits_with_0(start: Start, environment: Path) -> None:
    running = await (await start()).ready()
    assert (environment / "temp").is_dir()

    running.signal(signal.SIGINT)

    await running.says("Stopped server")
    assert await running.ended() == 0
    assert not (environment / "temp").exists()


async def test_sigint_does_not_wait_for_a_prompt(start: Start) -> None:
    running = await (await start()).ready()
    await running.submit(sleep(60))

    running.signal(signal.SIGINT)

    assert await running.ended() == 0


async def test_sigint_while_loading_kills_comfyui(start: Start) -> None:
    running = await start(never_ready="1")
    await running.says("Import times")

    running.signal(signal.SIGINT)

    assert await running.ended() == -signal.SIGINT


async def test_a_second_sigint_kills_comfyui(start: Start) -> None:
    running = await (await start(stop_seconds="60")).ready()
    running.signal(signal.SIGINT)
    await running.says("Stopped server")

    running.signal(signal.SIGINT)

    assert await running.ended() == -signal.SIGINT


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
async def test_other_signals_leave_the_temp_directory(
    start: Start, environment: Path, number: signal.Signals
) -> None:
    running = await (await start()).ready()

    running.signal(number)

    assert await running.ended() == -number
    assert (environment / "temp").is_dir()


async def test_the_content_of_the_temp_directory_is_deleted_at_the_start(
    start: Start, tmp_path: Path
) -> None:
    old = tmp_path / "own" / "temp" / "old.png"
    old.parent.mkdir(parents=True)
    old.touch()

    running = await (await start("--temp-directory", str(tmp_path / "own"))).ready()

    assert f"Setting temp directory to: {old.parent}" in running.lines
    assert not old.exists()
    assert old.parent.is_dir()


async def test_ignored_signals_do_nothing(start: Start) -> None:
    running = await (await start(ignore="INT,SIGTERM")).ready()

    running.signal(signal.SIGINT)
    running.signal(signal.SIGTERM)

    assert (await running.ask("GET", "/prompt"))["status"] == 200


async def test_an_unknown_argument_exits_with_2(start: Start) -> None:
    running = await start("--nope")

    await running.says("main.py: error: unrecognized arguments: --nope")
    assert await running.ended() == 2
    assert running.lines[0].startswith("usage: main.py [-h] ")


async def test_a_flag_of_a_newer_version_is_unknown(start: Start, environment: Path) -> None:
    build_environment(environment.parent, "comm", missing_flags=("--database-url",))
    running = await start("--database-url", "sqlite:///:memory:")

    await running.says("unrecognized arguments: --database-url sqlite:///:memory:")
    assert await running.ended() == 2
    assert "--database-url" not in (environment / "comfy" / "cli_args.py").read_text()


async def test_a_port_in_use_exits_with_1(start: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        running = await start("--port", str(port))

        await running.says("Starting server")
        await running.says(
            "OSError: [Errno 98] error while attempting to bind on address "
            f"('127.0.0.1', {port}): address already in use"
        )
        assert await running.ended() == 1


async def test_a_second_comfyui_on_one_database_exits_with_1(start: Start) -> None:
    await (await start()).ready()

    second = await start()

    await second.says("Could not acquire lock on database '")
    assert await second.ended() == 1


async def test_two_comfyuis_with_separate_files_run_concurrently(
    start: Start, tmp_path: Path
) -> None:
    first = await (await start()).ready()
    own = ("--temp-directory", str(tmp_path), "--database-url", f"sqlite:///{tmp_path}/db")
    second = await (await start(*own)).ready()
    await first.submit(PREVIEW)

    second.signal(signal.SIGINT)
    assert await second.ended() == 0

    assert (await first.ask("GET", "/prompt"))["status"] == 200


@pytest.mark.parametrize(("ending", "code"), [("3", 3), ("0", 0), ("SEGV", -11), ("SIGKILL", -9)])
async def test_a_requested_exit_has_the_given_code_and_last_line(
    start: Start, ending: str, code: int
) -> None:
    running = await start(exit_at_start=ending, stderr_tail="torch.OutOfMemoryError: CUDA")

    await running.says("torch.OutOfMemoryError: CUDA")
    assert await running.ended() == code


async def test_exit_after_counts_from_the_start_or_from_readiness(start: Start) -> None:
    loading = await start(exit_after="0:4", never_ready="1")
    loaded = await start(exit_after_ready="0.01:5", database_lock="0")

    assert await loading.ended() == 4
    await loaded.ready()
    assert await loaded.ended() == 5


async def test_a_spent_exit_budget_prevents_the_exit(start: Start, tmp_path: Path) -> None:
    budget = tmp_path / "budget"
    budget.write_text("1")

    first = await start(exit_at_start="7", exit_budget=str(budget))
    assert await first.ended() == 7
    second = await start(exit_at_start="7", exit_budget=str(budget))

    await second.ready()


async def test_a_crash_node_ends_the_process(start: Start) -> None:
    running = await (await start()).ready()
    with suppress(aiohttp.ClientError):  # it may be faster than its answer
        await running.submit(node("StandInCrash", ending="SIGSEGV", message="Fatal Python error"))

    await running.says("Fatal Python error")
    assert await running.ended() == -signal.SIGSEGV


async def test_an_unknown_standin_variable_is_refused_by_name(start: Start) -> None:
    running = await start(exit_afer="1:1")

    await running.says("invalid STANDIN_ settings: unknown variable STANDIN_EXIT_AFER")
    assert await running.ended() == 1


@pytest.mark.parametrize("kind", ["child", "grandchild", "group", "session", "port"])
async def test_descendants_outlive_the_leader_in_the_requested_session_and_group(
    start: Start, kind: str
) -> None:
    running = await start(children=kind, children_ignore="INT,TERM")
    pid = await relative(running, kind)
    leader = running.process.pid
    if kind != "port":
        await running.ready()

    running.process.kill()
    await running.ended()

    try:
        assert alive(pid)
        assert (os.getpgid(pid) == leader) == (kind in {"child", "grandchild"})
        assert (os.getsid(pid) == leader) == (kind not in {"session", "port"})
        if kind == "port":
            socket.create_connection(("127.0.0.1", running.port)).close()
    finally:
        os.killpg(os.getpgid(pid), signal.SIGKILL)


@pytest.mark.parametrize(("method", "path"), [("GET", "/manager"), ("POST", "/v2/manager")])
async def test_a_reboot_request_writes_the_marker_and_exits_with_0(
    start: Start, tmp_path: Path, method: str, path: str
) -> None:
    variables = {"__COMFY_CLI_SESSION__": str(tmp_path / "session")}
    running = await (await start(**variables)).ready()

    with pytest.raises(aiohttp.ClientError):
        await running.ask(method, f"{path}/reboot")

    assert await running.ended() == 0
    assert (tmp_path / "session.reboot").exists()


async def test_a_reboot_without_a_session_keeps_the_pid(start: Start) -> None:
    running = await (await start()).ready()

    with pytest.raises(aiohttp.ClientError):
        await running.ask("POST", "/v2/manager/reboot")

    await running.ready()
    assert (await running.ask("GET", "/prompt"))["status"] == 200
    assert running.process.returncode is None


async def test_a_reboot_while_loading_writes_the_marker(start: Start, tmp_path: Path) -> None:
    variables = {"__COMFY_CLI_SESSION__": str(tmp_path / "session"), "exit_at_start": "reboot"}
    running = await start(**variables)

    assert await running.ended() == 0
    assert (tmp_path / "session.reboot").exists()


async def test_a_cross_site_form_cannot_reboot_comfyui(start: Start) -> None:
    running = await (await start()).ready()

    answer = await running.ask("POST", "/v2/manager/reboot", data={"a": "b"})

    assert answer["status"] == 400
    async with bounded():
        await running.ask("GET", "/prompt")
