"""Starts and stops of well-behaved instances: scenarios 1, 7, 8 and 11."""

import asyncio
import json
import os
import signal

from comfysup.demo.workspace import build_environment
from tests.scenarios import kernel
from tests.scenarios.client import API
from tests.scenarios.harness import Daemon
from tests.scenarios.ports import refuses
from tests.scenarios.programs import NEVER_READY, Program
from tests.scenarios.waiting import until, until_async


async def test_a_start_returns_when_the_instance_is_ready_and_a_stop_when_it_has_ended(
    daemon: Daemon,
) -> None:
    """Scenario 1."""
    build_environment(daemon.workspace, "comm")
    port = daemon.ports.reserve()
    await daemon.start()
    body = {"environment": "comm", "instances": [{"id": 0, "port": port, "name": "main"}]}

    started = await daemon.api.ask("POST", f"{API}/start-instances", body, tcp=True)
    answers = not refuses(port)
    shown = await daemon.api.ask("GET", f"{API}/status", tcp=True)
    pids = daemon.processes()
    stopped = await daemon.api.ask("POST", f"{API}/stop-all", tcp=True)

    assert (started.status, started.body["results"][0]["status"]) == (200, "started")
    assert answers
    assert [(i["state"], i["ready"]) for i in shown.body["instances"]] == [("running", True)]
    assert list(pids) == [shown.body["instances"][0]["pid"]]
    assert (stopped.status, stopped.body["message"]) == (200, "All instances stopped")
    assert not daemon.processes()
    assert refuses(port)
    assert (await daemon.api.show(0))["last_exit"]["exit_code"] == 0


async def test_eight_instances_of_two_environments_start_and_stop_at_once(daemon: Daemon) -> None:
    """Scenario 1."""
    for name in ("comm", "aua-sp"):
        build_environment(daemon.workspace, name)
    await daemon.start()
    instances = [
        {
            "id": number,
            "port": daemon.ports.reserve(),
            "name": f"n{number}",
            "environment": ("comm", "aua-sp")[number % 2],
        }
        for number in range(8)
    ]

    started = await daemon.api.ask("POST", f"{API}/start-instances", {"instances": instances})
    shown = await daemon.api.show_all()
    alive = daemon.processes()
    stopped = await daemon.api.ask("POST", f"{API}/stop-all")

    assert started.body["started_instances"] == 8, started
    assert sorted(alive) == sorted(each["pid"] for each in shown)
    for each in shown:
        assert f"ComfyUI-{each['environment']}/main.py" in alive[each["pid"]]
        assert f"--port {each['port']}" in alive[each["pid"]]
    assert stopped.status == 200
    assert not daemon.processes()


async def test_the_same_start_twice_makes_one_process(daemon: Daemon) -> None:
    """Scenario 7: concurrently, and once more when it runs."""
    Program(daemon.workspace)
    port = daemon.ports.reserve()
    await daemon.start()

    answers = await asyncio.gather(*(daemon.api.start(0, port) for _ in range(2)))
    answers.append(await daemon.api.start(0, port))
    shown = await daemon.api.show(0)

    assert [answer.status for answer in answers] == [200, 200, 200]
    assert {answer.body["instance"]["pid"] for answer in answers} == {shown["pid"]}
    assert shown["generation"] == 1
    assert list(daemon.processes()) == [shown["pid"]]


async def test_another_spec_for_a_running_instance_is_a_conflict(daemon: Daemon) -> None:
    """Scenario 7: the running process is not affected."""
    Program(daemon.workspace)
    Program(daemon.workspace, "other")
    port, other = daemon.ports.reserve(), daemon.ports.reserve()
    await daemon.start()
    await daemon.api.start(0, port)
    before = await daemon.api.show(0)

    answers = [
        await daemon.api.start(0, other),
        await daemon.api.start(0, port, environment="other"),
        await daemon.api.start(0, port, extra_args="--lowvram"),
        await daemon.api.start(0, port, gpu="1"),
        await daemon.api.start(0, port, env={"A": "b"}),
    ]
    after = await daemon.api.show(0)

    assert [(each.status, each.body["code"]) for each in answers] == [(409, "spec_conflict")] * 5
    for name in ("pid", "generation", "port", "environment", "extra_args", "state"):
        assert before[name] == after[name]
    assert kernel.alive(before["pid"])


async def test_another_name_for_a_running_instance_renames_it(daemon: Daemon) -> None:
    """Scenario 7."""
    Program(daemon.workspace)
    port = daemon.ports.reserve()
    await daemon.start()
    first = await daemon.api.start(0, port)

    second = await daemon.api.start(0, port, name="other", description="changed")

    assert second.status == 200
    assert second.body["instance"]["pid"] == first.body["instance"]["pid"]
    assert (await daemon.api.show("other"))["description"] == "changed"


async def test_a_start_continues_when_its_caller_disconnects(daemon: Daemon) -> None:
    """Scenario 8."""
    program = Program(daemon.workspace, script="say started $$; read go < go; " + "serve")
    os.mkfifo(program.directory / "go")
    port = daemon.ports.reserve()
    await daemon.start()
    body = json.dumps({"id": 0, "port": port, "name": "main"})
    head = f"POST {API}/start-single HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"

    _, writer = await asyncio.open_connection("127.0.0.1", daemon.port)
    writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode())
    [pid] = await until(lambda: program.pids("started"))
    writer.transport.abort()
    await daemon.api.show(0)  # whatever the hang-up does has begun when this is answered
    (program.directory / "go").write_text("go\n")
    shown = await daemon.api.until(0, state="running")

    assert (pid, 1) == (shown["pid"], shown["generation"])


async def test_a_start_continues_after_the_timeout_of_its_caller(daemon: Daemon) -> None:
    """Scenario 8."""
    Program(daemon.workspace, script=NEVER_READY)
    await daemon.start()

    answer = await daemon.api.start(0, daemon.ports.reserve(), wait={"timeout": 0.05})
    shown = await daemon.api.show(0)

    assert (answer.status, answer.body["status"]) == (202, "starting")
    assert (shown["state"], shown["generation"], shown["wanted"]) == ("starting", 1, True)
    pid = await until_async(lambda: pid_of(daemon))
    assert kernel.alive(pid)


async def pid_of(daemon: Daemon) -> int:
    return int((await daemon.api.show(0))["pid"] or 0)


async def test_instances_receive_sigint_even_if_the_daemon_inherited_ignored_signals(
    daemon: Daemon,
) -> None:
    """Scenario 11: a background job of a shell has SIGINT ignored, and passes that on."""
    build_environment(daemon.workspace, "comm")
    await daemon.start("sh", "-c", 'trap "" INT QUIT HUP USR1; exec "$0" "$@"')
    started = await daemon.api.start(0, daemon.ports.reserve())
    pid = started.body["instance"]["pid"]
    ignored, blocked = kernel.signals_of(pid, "SigIgn"), kernel.signals_of(pid, "SigBlk")

    await daemon.api.act(0, "stop")
    end = (await daemon.api.show(0))["last_exit"]

    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGUSR1):
        assert not ignored & 1 << number - 1, number
    assert blocked == 0
    assert (end["exit_code"], end["signal"], end["expected"]) == (0, None, True)
    assert "Stopped server" in daemon.instance_log(0)


async def test_the_url_of_an_instance_with_key_and_certificate_is_https(daemon: Daemon) -> None:
    Program(daemon.workspace, script=NEVER_READY)
    await daemon.start()
    port = daemon.ports.reserve()
    words = "--tls-keyfile /k --tls-cert=/c"
    await daemon.api.start(0, port, extra_args=words, wait={"wait": "spawn"})

    assert (await daemon.api.show(0))["url"] == f"https://127.0.0.1:{port}"
