"""Which lines explain an exit, and which conditions the log shows of a running instance."""

import json
from pathlib import Path

from tests.scenarios.client import API
from tests.scenarios.harness import Daemon
from tests.scenarios.programs import SERVE, Program
from tests.scenarios.waiting import until, until_async

MISSING = "ModuleNotFoundError: No module named 'torchsde'"
TABLE = r"""
printf '\033[1m\033[33m[WARNING]\033[0m '
echo 'Cannot import /w/custom_nodes/x module for custom nodes: boom'
printf '\033[32m[INFO]\033[0m \nImport times for custom nodes:\n'
printf '\033[32m[INFO]\033[0m    0.1 seconds (IMPORT FAILED): /w/custom_nodes/x\n'
"""


async def test_the_log_of_a_removed_instance_does_not_explain_the_next_one_with_its_id(
    daemon: Daemon,
) -> None:
    """Both are generation 1 in one log."""
    program = Program(daemon.workspace, script=f'echo "{MISSING}"; exit 1')
    await daemon.start()
    port = daemon.ports.reserve()
    await daemon.api.start(0, port, restart="never")
    await daemon.api.ask("DELETE", f"{API}/instances/0")
    program.write("exit 4")
    await daemon.api.start(0, port, restart="never")
    end = (await daemon.api.until(0, state="failed"))["last_exit"]

    assert (end["exit_code"], end["reason"], end["log_tail"]) == (4, "exit", [])


async def test_an_old_unwritable_log_does_not_explain_a_new_exit(
    daemon: Daemon,
) -> None:
    """The output that the log refused is known and explains the exit."""
    Program(daemon.workspace, script="echo 'MemoryError'; exit 1")
    _log_of_another_life(daemon.log_dir)
    (daemon.log_dir / "comfyui_instance_0.log").mkdir()
    await daemon.start()

    await daemon.api.start(0, daemon.ports.reserve(), restart="never")
    end = (await daemon.api.until(0, state="failed"))["last_exit"]

    assert (end["reason"], end["log_tail"]) == ("host_out_of_memory", ["MemoryError"])


def _log_of_another_life(directory: Path) -> None:
    directory.mkdir()
    text = f"=== 2026-01-01T00:00:00Z comfysup: 0 'x' starts, generation 1\n{MISSING}\n"
    (directory / "comfyui_instance_0.log.1").write_text(text)


async def test_the_next_daemon_knows_where_the_output_of_an_instance_began(
    daemon: Daemon,
) -> None:
    """It began before the first daemon was killed, and ended after that."""
    script = f"""
if [ ! -e "$said" ]; then say first; echo "{MISSING}"; exit 1; fi
echo own line; while [ ! -e '<directory>/go' ]; do sleep 0.02; done; exit 4
"""
    program = Program(daemon.workspace, script=script)
    await daemon.start(backoff_initial=0.01)
    await daemon.api.start(0, daemon.ports.reserve(), wait={"wait": "spawn"}, max_failures=2)
    await daemon.api.until(0, generation=2, state="starting")
    await until(lambda: "own line" in daemon.instance_log(0) and _place_written(daemon))

    await daemon.kill()
    (program.directory / "go").touch()
    await daemon.start(backoff_initial=0.01)
    end = (await daemon.api.until(0, state="failed"))["last_exit"]

    assert end["reason"] == "exit"
    assert end["log_tail"][0] == "own line"


def _place_written(daemon: Daemon) -> bool:
    """Return whether the start offset of the second process is stored."""
    (record,) = json.loads((daemon.run_dir / "state.json").read_bytes())["instances"]
    process = record["process"]
    return record["life"]["generation"] == 2 and bool(process and process["log_began"])


async def test_a_failed_custom_node_is_a_condition_of_the_running_instance(daemon: Daemon) -> None:
    """Also in the next daemon; the next process starts without it."""
    program = Program(daemon.workspace, script=TABLE + SERVE)
    await daemon.start()
    await daemon.api.start(0, daemon.ports.reserve())

    async def failed() -> bool:
        conditions = (await daemon.api.show(0))["conditions"]
        return [each["message"] for each in conditions] == [
            "the custom node 'x' could not be imported: boom"
        ]

    await until_async(failed)
    await daemon.kill()
    await daemon.start()
    await until_async(failed)
    program.write(SERVE)
    await daemon.api.act(0, "restart")

    assert (await daemon.api.show(0))["conditions"] == []


USAGE = "\n".join(
    ["usage: main.py [-h] [--listen [IP]]", *[f"               [--x{n}]" for n in range(20)]]
)


async def test_an_unknown_argument_is_retried_once_and_reported_without_the_usage(
    daemon: Daemon,
) -> None:
    """Scenario 2: a retry cannot succeed, and twenty lines of usage do not help."""
    error = "main.py: error: unrecognized arguments: --lowrvam"
    program = Program(daemon.workspace, script=f"say started; echo '{USAGE}\n{error}'; exit 2")
    await daemon.start(backoff_initial=0.01, max_failures=5)

    answer = await daemon.api.start(0, daemon.ports.reserve())
    shown = await daemon.api.until(0, state="failed")

    assert "unknown arguments: --lowrvam" in answer.detail
    assert "usage:" not in answer.detail
    assert shown["last_exit"]["reason"] == "unknown_argument"
    assert shown["last_exit"]["log_tail"] == [error]
    assert (shown["consecutive_failures"], len(program.said("started"))) == (2, 2)


async def test_a_hint_names_the_requirements_of_the_custom_node_that_failed(
    daemon: Daemon,
) -> None:
    error = 'File "/w/custom_nodes/x/__init__.py", line 1, in <module>'
    trace = f"Traceback (most recent call last):\n  {error}\n    import y\n{MISSING}"
    program = Program(daemon.workspace, script=f"cat <<'END'\n{trace}\nEND\nexit 1")
    node = program.directory / "custom_nodes" / "x"
    node.mkdir(parents=True)
    (node / "requirements.txt").touch()
    await daemon.start()

    await daemon.api.start(0, daemon.ports.reserve(), restart="never")
    end = (await daemon.api.until(0, state="failed"))["last_exit"]

    assert "-m pip install -r custom_nodes/x/requirements.txt" in end["hint"]


async def test_a_missing_module_is_retried_until_it_is_installed(daemon: Daemon) -> None:
    """The module may be about to be installed."""
    script = f"""
say started; [ "$(grep -c started "$said")" -gt 3 ] || {{ echo "{MISSING}"; exit 1; }}; """
    Program(daemon.workspace, script=script + SERVE)
    await daemon.start(backoff_initial=0.01, backoff_max=0.01, max_failures=5)

    await daemon.api.start(0, daemon.ports.reserve(), wait={"wait": "spawn"})
    shown = await daemon.api.until(0, state="running")

    assert shown["restarts"] == 3
