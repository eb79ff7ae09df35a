"""Lost output, invalid arguments, and a daemon that does not respond."""

import signal

import pytest

from comfysup.cli.references import nearest
from tests.cli.shell import Shell
from tests.scenarios.harness import Daemon

LOST = (">&-", ">/dev/full", "2>&-", "2>/dev/full", ">&- 2>&-", ">/dev/full 2>&1", "<&- >&- 2>&-")


@pytest.mark.parametrize("lost", [*LOST, "| true", "2>&1 | true"])
async def test_a_rolling_restart_completes_although_its_output_is_lost(
    daemon: Daemon, shell: Shell, lost: str
) -> None:
    for number in range(3):
        await daemon.api.start(number, daemon.ports.reserve())

    said = await shell.script(f"comfysup restart --all --rolling {lost}; exit ${{PIPESTATUS[0]}}")

    assert said.code == 0, said
    assert [(await daemon.api.show(number))["generation"] for number in range(3)] == [2, 2, 2]


@pytest.mark.parametrize("command", ["status", "logs 0", "events --since 0", "--help", "env list"])
async def test_a_read_only_command_fails_if_its_output_cannot_be_written(
    daemon: Daemon, shell: Shell, command: str
) -> None:
    await daemon.api.start(0, daemon.ports.reserve())

    full = await shell.script(f"comfysup {command} >/dev/full")
    closed = await shell.script(f"comfysup {command} >&-")

    assert (full.code, closed.code) == (1, 1)
    assert full.err == "comfysup: cannot write the output: No space left on device\n"
    assert closed.err == "comfysup: cannot write the output: Bad file descriptor\n"


@pytest.mark.parametrize("command", ["status", "logs 0", "events --since 0", "--help"])
async def test_a_reader_that_closes_the_pipe_early_is_no_failure(
    daemon: Daemon, shell: Shell, command: str
) -> None:
    await daemon.api.start(0, daemon.ports.reserve())

    said = await shell.script(f"comfysup {command} | true; exit ${{PIPESTATUS[0]}}")

    assert (said.code, said.err) == (0, "")


@pytest.mark.parametrize("lost", LOST)
async def test_health_reports_by_exit_code_if_its_output_is_lost(
    daemon: Daemon, shell: Shell, lost: str
) -> None:
    await daemon.api.start(0, daemon.ports.reserve())
    await daemon.api.act(0, "stop")

    well = await shell.script(f"comfysup health --ready {lost}")
    unwell = await shell.script(f"comfysup health --ready --instance 0 {lost}")

    assert (well.code, unwell.code) == (0, 1)
    assert "Traceback" not in well.err + unwell.err


@pytest.mark.parametrize("verb", ["start", "stop", "restart", "rm", "env link"])
@pytest.mark.parametrize("word", ["''", r"$'\xff'"])
async def test_an_argument_that_cannot_be_a_name_is_a_usage_error(
    shell: Shell, verb: str, word: str
) -> None:
    said = await shell.script(f"comfysup {verb} {word}")

    assert said.code == 2
    assert "it is empty" in said.err or "is not valid UTF-8" in said.err
    assert "Traceback" not in said.err


async def test_a_mistyped_command_is_answered_with_the_nearest_one(shell: Shell) -> None:
    said = await shell.run("staus")

    assert said.code == 2
    assert "no command 'staus'; did you mean 'status'?" in said.err
    assert "did you mean 'restart'?" in (await shell.run("daemon", "restrt")).err
    assert "there are: check, link, list" in (await shell.run("env", "xyzzy")).err
    assert nearest("xyzzy", ["status"]) is None


async def test_a_stopped_daemon_is_reported(daemon: Daemon, shell: Shell) -> None:
    """Commands with a long timeout detect that the daemon does not run."""
    await daemon.api.start(0, daemon.ports.reserve())
    commands = ("status", "stop 0", "logs -f 0", "events", "reload", "legacy stop status")
    daemon.signal(signal.SIGSTOP)
    try:
        processes = [await shell.begin(*command.split()) for command in commands]
        ended = [(await each.communicate(), each.returncode) for each in processes]
    finally:
        daemon.signal(signal.SIGCONT)

    for (_, err), code in ended:
        assert code == 3
        assert "does not answer: it is stopped (SIGSTOP), hangs, or" in err.decode()
