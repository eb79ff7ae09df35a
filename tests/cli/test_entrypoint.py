"""entrypoint.sh with a scripted `comfysup`."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.scenarios.waiting import HANG

ENTRYPOINT = Path(__file__).parents[2] / "entrypoint.sh"


class Entrypoint:
    """The script and a directory to which `comfysup` writes its arguments."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, comfysup: str, *arguments: str) -> None:
        """Start the script; `comfysup` is a shell script with `$1`, `$2` and `$calls`."""
        program = self._directory / "comfysup"
        count = f'calls=$(wc -l < "{self._calls}"); echo "$*" >> "{self._calls}"'
        program.write_text(f"#!/bin/sh\n{count}\n{comfysup}\n")
        program.chmod(0o755)
        pause = self._directory / "sleep"
        pause.write_text(f"#!/bin/sh\n{PAUSE.format(self._directory)}\n")
        pause.chmod(0o755)
        self._calls.touch()
        with self._said.open("w") as said:
            self._process = subprocess.Popen(
                [ENTRYPOINT, *arguments],
                env={**os.environ, "PATH": f"{self._directory}:{os.environ['PATH']}"},
                stdout=said,
                stderr=said,
                start_new_session=True,
            )

    @property
    def _said(self) -> Path:
        return self._directory / "said"

    @property
    def _calls(self) -> Path:
        return self._directory / "calls"

    def calls(self) -> list[str]:
        return self._calls.read_text().splitlines()

    def delays(self) -> list[int]:
        """Return the seconds of each pause between two daemons."""
        file = self._directory / "delays"
        return [int(word) for word in file.read_text().split()] if file.exists() else []

    def hold(self, seconds: int) -> None:
        """Make sleeps of that many seconds endless."""
        (self._directory / "hold").write_text(f"{seconds}\n")

    def until_called(self, times: int) -> None:
        self.until(lambda: len(self.calls()) >= times)

    def until_served(self) -> None:
        """Wait until `SERVE` handles signals."""
        self.until(lambda: self.calls()[-1:] == ["served"])

    def until(self, condition: Callable[[], bool]) -> None:
        give_up = time.monotonic() + HANG
        while not condition():
            assert time.monotonic() < give_up, (self.calls(), self.delays())
            time.sleep(0.003)

    def signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def ended(self) -> tuple[int, str]:
        assert self._process is not None
        return self._process.wait(HANG), self._said.read_text()

    def close(self) -> None:
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()


@pytest.fixture
def entrypoint(tmp_path: Path) -> Iterator[Entrypoint]:
    one = Entrypoint(tmp_path)
    yield one
    one.close()


PAUSE = """
case $1 in *.*) exec /bin/sleep "$1" ;; esac
echo "$1" >> '{0}/delays'
read -r hold 2> /dev/null < '{0}/hold' || hold=none
[ "$1" != "$hold" ] || exec /bin/sleep 3600
"""
"""A `sleep` that takes no time for whole seconds, but for those that are held."""

SERVE = "trap 'echo bye; exit 0' TERM; echo served >> ${0%/*}/calls; while :; do sleep 0.05; done"
DIE_ONCE = '[ "$calls" -gt 0 ] || exit 137'


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_the_daemon_and_its_exit_code_is_returned(
    entrypoint: Entrypoint, number: signal.Signals
) -> None:
    entrypoint.start(SERVE)
    entrypoint.until_served()

    entrypoint.signal(number)

    assert entrypoint.ended() == (0, "bye\n")
    assert entrypoint.calls() == ["serve", "served"]


@pytest.mark.parametrize("delay", [0.0, 0.002, 0.004, 0.008, 0.016, 0.032])
def test_a_signal_at_any_moment_of_the_startup_ends_the_entrypoint(
    entrypoint: Entrypoint, delay: float
) -> None:
    entrypoint.start('[ "$2" = --end ] && exit 0; exec /bin/sleep 3600')
    time.sleep(delay)

    entrypoint.signal(signal.SIGTERM)

    code, _ = entrypoint.ended()
    # Before the shell had read its first lines the signal ended it; there was nothing to end then.
    assert code == 0 or (code, entrypoint.calls()) == (-signal.SIGTERM, [])


def test_a_killed_daemon_is_restarted_immediately(entrypoint: Entrypoint) -> None:
    entrypoint.start(f"{DIE_ONCE}; {SERVE}")
    entrypoint.until_served()

    entrypoint.signal(signal.SIGTERM)

    code, said = entrypoint.ended()
    assert code == 0
    assert "comfysup ended with 137; it is started again in 0 s" in said


def test_the_delay_grows_while_the_daemon_keeps_exiting(entrypoint: Entrypoint) -> None:
    entrypoint.start("exit 1")

    entrypoint.until_called(9)

    assert entrypoint.delays()[:8] == [0, 1, 2, 4, 8, 16, 30, 30]
    entrypoint.signal(signal.SIGTERM)
    entrypoint.ended()


def test_a_stop_between_two_daemons_runs_serve_end(entrypoint: Entrypoint) -> None:
    entrypoint.hold(2)
    entrypoint.start('[ "$2" != --end ] || exit 0; exit 1')
    entrypoint.until(lambda: 2 in entrypoint.delays())

    entrypoint.signal(signal.SIGTERM)

    assert entrypoint.ended()[0] == 0
    assert entrypoint.calls()[-1] == "serve --end"


def test_a_daemon_that_dies_of_the_stop_has_a_successor_that_ends_the_rest(
    entrypoint: Entrypoint,
) -> None:
    entrypoint.start('[ "$2" != --end ] || exit 0; exec /bin/sleep 3600')
    entrypoint.until_called(1)

    entrypoint.signal(signal.SIGTERM)

    assert entrypoint.ended()[0] == 0
    assert entrypoint.calls() == ["serve", "serve --end"]


@pytest.mark.parametrize("code", [0, 2])
def test_an_intended_exit_ends_the_entrypoint_with_the_same_code(
    entrypoint: Entrypoint, code: int
) -> None:
    entrypoint.start(f"exit {code}")

    assert entrypoint.ended() == (code, "")
    assert entrypoint.calls() == ["serve"]


def test_wrong_settings_do_not_end_a_container_in_which_a_daemon_has_run(
    entrypoint: Entrypoint,
) -> None:
    """The instances would end with the container."""
    entrypoint.start('[ "$calls" -gt 0 ] || exit 137; [ "$calls" -gt 2 ] || exit 2; ' + SERVE)

    entrypoint.until_called(4)
    entrypoint.signal(signal.SIGTERM)

    assert entrypoint.ended()[0] == 0


def test_a_command_given_as_arguments_replaces_the_daemon(entrypoint: Entrypoint) -> None:
    entrypoint.start("exit 1", "sh", "-c", "echo mine; exit 7")

    assert entrypoint.ended() == (7, "mine\n")
    assert entrypoint.calls() == []
