import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from comfysup.system.lineage import Found, Lineage, descendants_of
from comfysup.system.proc import read_stat
from comfysup.system.reaper import Reaper
from tests.unit.system.children import child, end_orphan, wait_ended

MARKER = "word:0:1"

KINDS = {
    "child": "sleep 60 & echo $!",
    "grandchild": "sh -c 'sleep 60 & echo $!; wait' &",
    "own group": "timeout 60 sleep 60 & echo $!",
    "own session": "setsid -f sh -c 'echo $$; exec sleep 60'",
    "own session, no marker": "env -u COMFYSUP_MARKER sleep 60 & echo $!",
}
"""What a leader leaves, which says its own pid; only the last has lost the marker, and it kept
the group."""


@contextmanager
def dead_leader(script: str, marker: str = MARKER) -> Iterator[tuple[int, int]]:
    """Yields the pid of a leader that is a zombie, and the pid that it had said."""
    with subprocess.Popen(
        ["sh", "-c", f"{script}\nexec sleep 60"],
        stdout=subprocess.PIPE,
        start_new_session=True,
        env={**os.environ, "COMFYSUP_MARKER": marker},
        text=True,
    ) as process:
        assert process.stdout is not None
        said = int(process.stdout.readline())
        process.kill()
        wait_ended(process.pid)
        try:
            yield process.pid, said
        finally:
            end_orphan(said)


def nobody(_pid: int) -> bool:
    return False


@pytest.mark.parametrize("kind", KINDS)
async def test_what_a_dead_leader_leaves_is_found(reaper: Reaper, kind: str) -> None:
    with dead_leader(KINDS[kind]) as (pid, left):
        lineage = Lineage(pid, MARKER)

        orphans = lineage.orphans(lambda child: child == pid)

        assert left in {found.pid for found in orphans}
        assert pid not in {found.pid for found in orphans}


@pytest.mark.parametrize("kind", KINDS)
async def test_it_is_found_without_being_its_parent_too(kind: str) -> None:
    """The orphans of an adopted leader go to PID 1, not to this process."""
    with dead_leader(KINDS[kind]) as (pid, left):
        survivors = Lineage(pid, MARKER).survivors()

        assert left in {found.pid for found in survivors}
        assert pid not in {found.pid for found in survivors}


async def test_the_descendants_of_what_is_left_are_found_whatever_they_hide(reaper: Reaper) -> None:
    script = "setsid -f sh -c 'env -i setsid sh -c \"echo \\$\\$; exec sleep 60\" & wait'"
    with dead_leader(script) as (pid, left):
        orphans = Lineage(pid, MARKER).orphans(nobody)

        assert left in {found.pid for found in orphans}
        for found in orphans:
            end_orphan(found.pid)


HIDDEN = "setsid -f env -i sh -c 'echo $$; exec sleep 60'"
"""In a session of its own and without the marker; it still holds the output."""


async def test_who_hides_all_but_the_output_is_found_by_that(reaper: Reaper) -> None:
    with dead_leader(HIDDEN) as (pid, left):
        status = os.stat(f"/proc/{left}/fd/1")  # noqa: PTH116
        output = (status.st_dev, status.st_ino)

        found = Lineage(pid, MARKER, output).orphans(nobody)
        others = Lineage(pid, MARKER, (0, 0)).orphans(nobody)

        assert [left] == [each.pid for each in found]
        assert not others


def test_who_holds_the_output_elsewhere_is_not_claimed() -> None:
    """Somebody may look at it; only a child of this process can be a descendant."""
    with dead_leader(HIDDEN) as (pid, left):
        status = os.stat(f"/proc/{left}/fd/1")  # noqa: PTH116

        survivors = Lineage(pid, MARKER, (status.st_dev, status.st_ino)).survivors()

        assert left not in {each.pid for each in survivors}


async def test_who_was_known_before_is_found_whatever_it_hides(reaper: Reaper) -> None:
    with child("sleep", "60") as pid:
        stat = read_stat(pid)
        assert stat is not None
        known, another = Found(pid, stat.start_time), Found(pid, stat.start_time - 1)

        assert Lineage(2**22 + 1, MARKER).orphans(nobody, [known]) == [known]
        assert known in Lineage(2**22 + 1, "nobody's").survivors([known])
        assert known not in Lineage(2**22 + 1, "nobody's").survivors([another])


def test_a_tree_is_seen_whatever_its_members_hide() -> None:
    script = "env -i setsid sh -c 'sleep 60 > /dev/null 2>&1 & wait' > /dev/null 2>&1 & wait"
    with child("sh", "-c", script) as pid:
        while len(found := descendants_of(pid)) < 2:
            pass

        assert {os.getsid(each.pid) for each in found} != {os.getsid(pid)}
        for each in found:
            end_orphan(each.pid)


async def test_another_generation_is_not_claimed(reaper: Reaper) -> None:
    with dead_leader(KINDS["own session"], "word:0:10") as (pid, left):
        assert Lineage(pid, "word:0:10").claims(left)
        assert not Lineage(2**22 + 1, MARKER).claims(left)
        assert not Lineage(2**22 + 1, MARKER).orphans(lambda child: child == pid)


def test_a_stranger_is_not_claimed() -> None:
    with child("sleep", "60") as pid:
        assert not Lineage(2**22 + 1, MARKER).claims(pid)


def test_the_leader_itself_is_not_claimed() -> None:
    with child("sleep", "60", COMFYSUP_MARKER=MARKER) as pid:
        assert not Lineage(pid, MARKER).claims(pid)


def test_a_pid_with_another_start_is_not_there_any_more() -> None:
    with child("sleep", "60") as pid:
        stat = read_stat(pid)
        assert stat is not None

        assert Found(pid, stat.start_time).still_there()
        assert not Found(pid, stat.start_time - 1).still_there()

    assert not Found(pid, stat.start_time).still_there()
