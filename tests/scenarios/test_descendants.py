"""Descendants of an instance: scenarios 13 and 14."""

import asyncio
import functools
import os
import signal
from collections.abc import Sequence

import pytest

from comfysup.demo.workspace import build_environment
from tests.scenarios import kernel
from tests.scenarios.harness import Daemon
from tests.scenarios.ports import refuses
from tests.scenarios.programs import SERVE, Program
from tests.scenarios.waiting import NEVER, until

# Each says the pid of something that outlives its parent and ignores whatever can be ignored.
DEAF = "trap '' INT TERM HUP;"
RELATIVES = {
    "child": f"({DEAF} exec sleep 3600) & say left $!;",
    "grandchild": f"sh -c '{DEAF} sleep 3600 & echo left $! >> $0; wait' $said &",
    "own group": "timeout 3600 sleep 3600 & say left $!;",
    "own group, no marker, no output": (
        "env -i timeout 3600 sleep 3600 > /dev/null 2>&1 & say left $!;"
    ),
    "own session": f"setsid -f sh -c '{DEAF} echo left $$ >> $0; exec sleep 3600' $said;",
    "own session, no output": (
        "setsid -f sh -c 'echo left $$ >> $0; exec sleep 3600' $said > /dev/null 2>&1;"
    ),
    "daemon": (
        f"setsid -f sh -c 'sh -c \"{DEAF} echo left \\$\\$ >> $0; exec sleep 3600\" & :' $said;"
    ),
    "no marker": "env -i sleep 3600 & say left $!;",
    "own session, no marker": (
        "setsid -f env -i sh -c 'echo left $$ >> $0; exec sleep 3600' $said;"
    ),
}
ONLY_A_PARENT = "env -i setsid sleep 3600 > /dev/null 2>&1 & say left $!;"
"""No sign is left of it but its place in the tree, which ends with its parent."""

SHELL = "serve & say left $!; wait $!"
"""A leader that is a shell, with ComfyUI as its child."""


async def left_by(program: Program, number: int) -> list[int]:
    return await until(lambda: (len(found := program.pids("left")) >= number and found) or [])


async def start_each(daemon: Daemon, scripts: Sequence[str]) -> list[Program]:
    """One ready instance for each script, with the descendants that it starts."""
    programs = [
        Program(daemon.workspace, f"e{number}", script=script)
        for number, script in enumerate(scripts)
    ]
    answers = await asyncio.gather(
        *(
            daemon.api.start(number, daemon.ports.reserve(), environment=f"e{number}")
            for number in range(len(programs))
        )
    )
    assert [200] * len(programs) == [answer.status for answer in answers]
    return programs


@pytest.mark.parametrize("leader", [SERVE, SHELL], ids=["comfyui", "shell"])
async def test_a_stop_ends_all_descendants_of_the_instance(daemon: Daemon, leader: str) -> None:
    """Scenario 13: checked at the time of the response."""
    kinds = RELATIVES | {"only a parent": ONLY_A_PARENT}
    await daemon.start(stop_grace=0.4)
    programs = await start_each(daemon, [script + leader for script in kinds.values()])
    of_each = 2 if leader == SHELL else 1
    left = dict(zip(kinds, [await left_by(each, of_each) for each in programs], strict=True))

    async def stop(number: int, kind: str) -> tuple[str, list[int]]:
        answer = await daemon.api.act(number, "stop")
        assert answer.body["state"] == "stopped"
        return kind, [pid for pid in left[kind] if kernel.alive(pid)]

    survivors = await asyncio.gather(*(stop(number, kind) for number, kind in enumerate(kinds)))

    assert [(kind, []) for kind in kinds] == survivors
    assert not daemon.processes()


async def test_a_stop_frees_a_port_that_a_descendant_held(daemon: Daemon) -> None:
    """Scenario 13: a child in a session of its own has inherited the listening socket."""
    build_environment(daemon.workspace, "comm")
    port = daemon.ports.reserve()
    await daemon.start()
    kinds = "child,grandchild,group,session,port"
    env = {"STANDIN_CHILDREN": kinds, "STANDIN_CHILDREN_IGNORE": "INT,TERM"}
    await daemon.api.start(0, port, env=env)
    before = daemon.processes()

    await daemon.api.act(0, "stop")

    assert len(before) >= 6
    assert not daemon.processes()
    assert refuses(port)
    assert (await daemon.api.start(0, port)).status == 200


# Before it serves, each generation says whether something of the last one is alive.
OVERLAP = """
for pid in $(sed -n 's/^left //p' "$said"); do
    case "$(cat /proc/$pid/stat 2>/dev/null)" in "" | *") Z "*) ;; *) say overlap $pid ;; esac
done
"""


@pytest.mark.parametrize("leader", [SERVE, SHELL], ids=["comfyui", "shell"])
async def test_descendants_of_a_dead_leader_are_gone_before_the_next_start(
    daemon: Daemon, leader: str
) -> None:
    """Scenario 14: the next generation itself checks for processes of the previous one."""
    await daemon.start()
    scripts = [f"say pid $$\n{OVERLAP}{script}{leader}" for script in RELATIVES.values()]
    programs = await start_each(daemon, scripts)
    of_each = 2 if leader == SHELL else 1

    for generation in (1, 2):
        for program in programs:
            await left_by(program, generation * of_each)
            os.kill(program.pids("pid")[-1], signal.SIGKILL)
        for number in range(len(programs)):
            await daemon.api.until(number, state="running", generation=generation + 1)
    overlaps = [program.said("overlap") for program in programs]

    assert {kind: [] for kind in RELATIVES} == dict(zip(RELATIVES, overlaps, strict=True))


async def test_descendants_of_a_leader_that_is_not_restarted_are_ended(daemon: Daemon) -> None:
    """Scenario 14: with all kinds of descendants at once."""
    program = Program(daemon.workspace, script="".join(RELATIVES.values()) + SHELL)
    await daemon.start()
    started = await daemon.api.start(0, daemon.ports.reserve(), restart="never")
    left = await left_by(program, len(RELATIVES) + 1)

    os.kill(started.body["instance"]["pid"], signal.SIGKILL)
    await daemon.api.until(0, state="failed")

    assert not [pid for pid in left if kernel.alive(pid)]


async def test_relatives_of_others_are_left_alone(daemon: Daemon) -> None:
    """Scenario 14: the sweep of one instance does not affect descendants of another."""
    programs = [
        Program(daemon.workspace, name, script="".join(RELATIVES.values()) + SERVE)
        for name in ("a", "b")
    ]
    await daemon.start()
    for number, name in enumerate(("a", "b")):
        await daemon.api.start(number, daemon.ports.reserve(), environment=name)
    of_a, of_b = [await left_by(program, len(RELATIVES)) for program in programs]

    await daemon.api.act(0, "stop")

    assert not [pid for pid in of_a if kernel.alive(pid)]
    assert [pid for pid in of_b if kernel.alive(pid)] == of_b


async def test_the_exit_of_a_leader_is_reported_without_polling(daemon: Daemon) -> None:
    """Scenario 14: polling could not detect the exit this early."""
    program = Program(daemon.workspace, script=RELATIVES["own session"] + SERVE)
    await daemon.start(probe_period=NEVER)
    await daemon.api.start(0, daemon.ports.reserve(), max_failures=100, backoff_initial=0.01)

    for generation in range(1, 10):
        shown = await daemon.api.until(0, state="running", generation=generation)
        await left_by(program, generation)
        os.kill(shown["pid"], signal.SIGKILL)
        [seen] = await until(
            functools.partial(daemon.events, "instance.exited", generation=generation)
        )

        assert seen["signal"] == "SIGKILL"


async def test_a_relative_that_floods_the_log_does_not_hold_the_daemon(daemon: Daemon) -> None:
    """Scenario 14: descendants of a dead leader may write at full speed until the sweep."""
    flood = "setsid -f sh -c 'echo left $$ >> $0; exec yes flood' $said;"
    program = Program(daemon.workspace, script=flood * 3 + SERVE)
    await daemon.start()
    started = await daemon.api.start(0, daemon.ports.reserve(), restart="never")
    left = await left_by(program, 3)

    os.kill(started.body["instance"]["pid"], signal.SIGKILL)
    await daemon.api.until(0, state="failed")

    assert not [pid for pid in left if kernel.alive(pid)]
