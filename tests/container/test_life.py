"""Stops, deaths and restarts of a container, and containers with restricted rights."""

import pytest

from tests.container import engine
from tests.container.conftest import Run
from tests.container.engine import PODMAN, until

MAIN = {"id": 0, "port": 3001, "name": "main"}


def test_a_stop_ends_everything_in_time_and_cleanly(run: Run) -> None:
    container = run()
    deaf = {"id": 2, "port": 3003, "env": {"STANDIN_IGNORE": "INT,TERM"}}
    other = {"id": 1, "port": 3002, "environment": "aua-sp"}
    assert container.start_instances(MAIN, other, deaf).code == 0

    seconds, code = container.stop()

    print(f"stopped after {seconds:.2f} s")  # noqa: T201 - the figure is wanted
    assert code in {0, 143}  # after ten seconds it would be killed, and 137
    for number in (0, 1):
        log = container.read(f"/workspace/logs/comfyui_instance_{number}.log")
        assert log.rstrip().endswith("Stopped server")


def test_a_restarted_daemon_adopts_the_running_instances(run: Run) -> None:
    container = run()
    assert container.start_instances(MAIN).code == 0
    before, killed = container.instances()[0], container.daemon_pid()

    container.signal("KILL", killed)
    until(lambda: container.daemon_pid() not in {0, killed})

    after = container.instances()[0]
    assert "comfysup ended with 137; it is started again in 0 s" in container.log()
    assert (after["pid"], after["generation"]) == (before["pid"], before["generation"])
    assert after["state"] == "running"
    assert container.stop()[1] in {0, 143}
    log = container.read("/workspace/logs/comfyui_instance_0.log")
    assert log.rstrip().endswith("Stopped server")


@pytest.mark.parametrize("ending", ["stop", "kill"])
def test_a_restarted_container_starts_without_instances(run: Run, ending: str) -> None:
    container = run()
    assert container.start_instances(MAIN).code == 0

    getattr(container, ending)()
    container.start()
    container.wait_until_healthy()

    assert container.instances() == {}
    assert container.exec("/start_comfyui.sh", "0").code == 0
    assert container.instances()[0]["state"] == "running"


CLOSED = ("--read-only", "--tmpfs", "/run", "--tmpfs", "/tmp", "--volume", "/workspace")  # noqa: S108 - in the container


@pytest.mark.parametrize(
    "options",
    [CLOSED, ("--user", "1000"), (*CLOSED, "--user", "1000")],
    ids=["read-only", "user", "both"],
)
def test_a_restricted_container_starts_and_stops_instances(
    run: Run, options: tuple[str, ...]
) -> None:
    container = run(*options)

    started = container.exec("/start_comfyui.sh", "0")
    stopped = container.exec("/stop_comfyui.sh", "all")

    assert (started.code, stopped.code) == (0, 0), (started, stopped)
    assert container.check_health() == 0
    assert container.stop()[1] in {0, 143}


def test_a_memory_limit_that_kills_an_instance_is_named(run: Run, image: str) -> None:
    limit = ("--memory", "400m", "--memory-swap", "400m")
    tried = engine.run(PODMAN, "run", "--rm", *limit, image, "true")
    if tried.code:
        pytest.skip(f"no memory limit can be set here: {tried.err[-300:]}")
    container = run(*limit)

    said = container.start_instances({"id": 0, "environment": "hungry", "restart": "never"})

    assert said.code == 1
    assert "ran out of memory" in said.err
    assert container.instances()[0]["last_exit"]["reason"] == "host_out_of_memory"
    assert container.start_instances({"id": 1, "port": 3002}).code == 0


def test_a_hundred_orphans_leave_no_zombie(run: Run) -> None:
    container = run()

    said = container.start_instances({**MAIN, "env": {"STANDIN_ORPHANS": "100"}})

    assert said.code == 0, said
    until(lambda: not container.zombies())
    orphan = "for n in $(seq 100); do (sleep 0.2; exit $n) & done"
    container.exec("sh", "-c", orphan)
    until(lambda: not container.zombies())
    assert container.instances()[0]["state"] == "running"
