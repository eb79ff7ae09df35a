# ruff: noqa: ASYNC240 - nobody but the test waits on its loop

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from comfysup.linux.process.pidfd import ExitStatus
from comfysup.linux.process.proc import children_of, read_marker, read_stat
from comfysup.linux.process.process import Process
from comfysup.linux.process.reaper import Reaper
from comfysup.linux.process.sweep import Sweep
from tests.scenarios.waiting import bounded, until
from tests.unit.linux.children import MARKER, alive, limited_descriptors, open_descriptors, sweeps

pytestmark = pytest.mark.usefixtures("refusal")

Spawn = Callable[..., Process]

GLIBCS_OWN = 0b11 << 31
"""Signals 32 and 33: nobody can set them (nptl(7)); what a parent ignored of them stays so."""


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "output"


@pytest.fixture
def spawn(reaper: Reaper, output: Path, tmp_path: Path) -> Spawn:
    """Start a program that writes to `output`."""

    def start(*argv: str, **variables: str) -> Process:
        env = {"PATH": os.environ["PATH"], **variables}
        with output.open("wb") as file:
            return Process.spawn(
                argv,
                cwd=tmp_path,
                env=env,
                output=file.fileno(),
                marker=MARKER,
                reaper=reaper,
                sweeps=sweeps(),
            )

    return start


async def ended(process: Process) -> ExitStatus:
    async with bounded():
        return await process.ended()


async def swept(process: Process) -> None:
    async with bounded():
        await process.sweep()


async def numbers_in(output: Path, words: int) -> list[int]:
    """Return the numbers that a program has written, once there are that many."""
    text = await until(lambda: (said := output.read_text()).count("\n") >= words and said)
    assert isinstance(text, str)
    return [int(word) for word in text.split()]


async def test_a_process_leads_a_session_and_a_group_and_bears_the_marker(spawn: Spawn) -> None:
    process = spawn("sleep", "60")
    stat = read_stat(process.pid)

    assert stat is not None
    assert process.pid == stat.session == stat.group
    assert os.getpid() == stat.parent
    # It can be read a little after exec.
    await until(lambda: read_marker(process.pid) == MARKER)
    await swept(process)


async def test_a_process_inherits_only_its_outputs(spawn: Spawn, output: Path) -> None:
    read, write = os.pipe()
    os.set_inheritable(read, True)  # noqa: FBT003 - it has no name
    try:
        process = spawn("sh", "-c", "ls -l /proc/$$/fd; cat")
        await ended(process)
    finally:
        os.close(read)
        os.close(write)
    listed = [line.split()[-3:] for line in output.read_text().splitlines() if "->" in line]

    assert [[each[0], each[2]] for each in listed] == [
        ["0", "/dev/null"],
        ["1", str(output)],
        ["2", str(output)],
    ]
    await swept(process)


async def test_a_process_has_exactly_the_given_directory_and_variables(
    spawn: Spawn, output: Path, tmp_path: Path
) -> None:
    process = spawn("sh", "-c", "pwd; exec env", GREETING="hé llo")
    await ended(process)

    found = output.read_text().splitlines()

    assert str(tmp_path) == found[0]
    assert {"GREETING=hé llo", f"COMFYSUP_MARKER={MARKER}", f"PATH={os.environ['PATH']}"} == {
        line for line in found[1:] if not line.startswith(("PWD=", "OLDPWD=", "SHLVL=", "_="))
    }
    await swept(process)


async def test_a_process_ignores_and_blocks_no_signal(spawn: Spawn, output: Path) -> None:
    """Python itself ignores SIGPIPE and SIGXFSZ."""
    process = spawn("grep", "-E", "^Sig(Blk|Ign)", "/proc/self/status")
    await ended(process)

    masks = {int(line.split()[1], 16) & ~GLIBCS_OWN for line in output.read_text().splitlines()}

    assert masks == {0}
    await swept(process)


@pytest.mark.parametrize(
    ("script", "status"),
    [("exit 3", ExitStatus(code=3)), ("kill -9 $$", ExitStatus(signal=signal.SIGKILL))],
)
async def test_the_dead_leader_is_kept_until_the_sweep(
    spawn: Spawn, reaper: Reaper, script: str, status: ExitStatus
) -> None:
    """So that its pid cannot be reused while signals may still be sent to it."""
    process = spawn("sh", "-c", script)

    assert status == await ended(process)
    reaper.reap()
    assert os.path.exists(f"/proc/{process.pid}")  # noqa: PTH110
    await swept(process)
    assert not os.path.exists(f"/proc/{process.pid}")  # noqa: PTH110


@pytest.mark.parametrize(
    ("argv", "error"),
    [
        (("/nowhere/python",), FileNotFoundError),
        (("/etc/passwd",), PermissionError),
        (("sh", "x" * (3 << 20)), OSError),
    ],
    ids=["missing", "not executable", "too long"],
)
async def test_a_failed_spawn_leaves_no_child_and_no_descriptor(
    spawn: Spawn, argv: tuple[str, ...], error: type[OSError]
) -> None:
    children, descriptors = children_of(os.getpid()), open_descriptors()

    with pytest.raises(error):
        spawn(*argv)

    assert children == children_of(os.getpid())
    assert descriptors == open_descriptors()


LEFT = """
sleep 60 & echo $!
sh -c 'sleep 60 & echo $!; wait' &
timeout 60 sleep 60 & echo $!
setsid -f sh -c 'trap "" INT TERM HUP; echo $$; sleep 60 & wait; sleep 60'
"""


@pytest.mark.parametrize("leader", ["wait; sleep 60", "exit 0"], ids=["living", "dead"])
async def test_no_descendant_outlives_the_sweep(spawn: Spawn, output: Path, leader: str) -> None:
    process = spawn("sh", "-c", LEFT + leader)
    left = await numbers_in(output, 4)

    await swept(process)

    assert not [pid for pid in (process.pid, *left) if alive(pid)]
    await until(lambda: not set(left) & set(children_of(os.getpid())))  # nor are there zombies


async def test_other_children_outlive_a_sweep(spawn: Spawn) -> None:
    one, other = spawn("sleep", "60"), spawn("sleep", "60")

    await swept(one)

    assert alive(other.pid)
    await swept(other)


async def test_a_descendant_without_a_marker_is_found_by_its_parent(
    spawn: Spawn, output: Path
) -> None:
    script = "env -i setsid sleep 60 > /dev/null 2>&1 & echo $!; wait"
    process = spawn("sh", "-c", script)
    left = await numbers_in(output, 1)

    process.signal_group(signal.SIGTERM)
    await ended(process)
    await swept(process)

    assert not alive(left[0])


async def test_without_descriptors_nothing_is_started_and_nothing_left(spawn: Spawn) -> None:
    children, descriptors = children_of(os.getpid()), open_descriptors()

    for free in range(12):
        with limited_descriptors(free), suppress(OSError):
            await swept(spawn("sleep", "60"))

    assert children == children_of(os.getpid())
    assert descriptors == open_descriptors()


async def test_a_sweep_waits_for_descriptors_to_look_with(
    spawn: Spawn, reaper: Reaper, output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that cannot be examined must not count as ended."""
    process = spawn("sh", "-c", "setsid -f sh -c 'echo $$; exec sleep 60'; exec sleep 60")
    left = await numbers_in(output, 1)

    turns: list[Sweep] = []
    turn = Sweep.turn

    def counted(sweep: Sweep) -> bool:
        turns.append(sweep)
        return turn(sweep)

    monkeypatch.setattr(Sweep, "turn", counted)
    with limited_descriptors(0):
        sweeping = asyncio.create_task(process.sweep())
        await until(lambda: len(turns) > 2)
        reaper.reap()
        done = sweeping.done()
    async with bounded():
        await sweeping

    assert not done
    assert not alive(left[0])


async def test_a_hundred_processes_leave_no_descriptor(spawn: Spawn) -> None:
    descriptors = open_descriptors()

    for _ in range(100):
        process = spawn("sh", "-c", "exit 0")
        await ended(process)
        await swept(process)

    assert descriptors == open_descriptors()


RESTORED = """
import signal
from comfysup.linux.process.signals import accept_signals, unblock_signals
accept_signals()
unblock_signals()
print(open("/proc/self/status").read())
signal.raise_signal(signal.SIGINT)
"""


def test_a_process_started_with_ignored_signals_accepts_signals() -> None:
    """As a background job of a shell it ignores SIGINT, and a parent may have blocked others."""
    started = subprocess.run(
        ["sh", "-c", 'trap "" INT QUIT HUP USR1; exec "$0" -c "$1"', sys.executable, RESTORED],
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM]),
    )
    masks = dict(line.split() for line in started.stdout.splitlines() if line.startswith("Sig"))

    assert started.returncode == -signal.SIGINT
    assert int(masks["SigBlk:"], 16) == 0
    assert int(masks["SigIgn:"], 16) & ~GLIBCS_OWN == sum(
        1 << number - 1 for number in (signal.SIGPIPE, signal.SIGXFSZ)
    )
