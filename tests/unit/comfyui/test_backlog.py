"""What is run again after an end, in which order, and what is given up."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comfysup.comfyui import backlog as module
from comfysup.comfyui.backlog import REMOVED, Backlog, GivenUp
from comfysup.comfyui.prompts import Prompt, Snapshot
from comfysup.supervision.spec import Rescue

ALL = Rescue.ALL


def prompt(number: float, prompt_id: str = "", content: bytes | None = b"[]") -> Prompt:
    return Prompt(number, prompt_id or f"p{number:g}", content)


def queue(*waiting: Prompt, running: Prompt | None = None) -> Snapshot:
    return Snapshot((running,) if running else (), waiting)


def ids(backlog: Backlog) -> list[str]:
    return [each.id for each in backlog.owed]


def crash(backlog: Backlog, rescue: Rescue = ALL) -> tuple[Backlog, list[str]]:
    left, given_up = backlog.lost(rescue, crashed=True)
    return left, [each.prompt_id for each in given_up]


def rescued(backlog: Backlog) -> Backlog:
    """Hands in all that is owed to a process that numbers from 0."""
    for number, each in enumerate(backlog.owed):
        backlog = backlog.handed_in(each, number)
    return backlog


A, B, C, D = (prompt(number, name) for number, name in enumerate("abcd"))


def test_after_a_crash_the_running_one_is_first_and_the_others_follow_in_their_order() -> None:
    left, given_up = crash(Backlog().seen(queue(B, C, running=D), 1))

    assert ids(left) == ["d", "b", "c"]
    assert not given_up


def test_what_the_process_finished_is_not_owed() -> None:
    backlog = Backlog().seen(queue(B, running=A), 1).seen(queue(running=B), 2)

    assert ids(crash(backlog)[0]) == ["b"]


def test_an_emptied_queue_is_known_without_a_look() -> None:
    backlog = Backlog().seen(queue(running=A), 1).told(0)

    assert backlog.is_empty
    assert ids(crash(backlog)[0]) == []


def test_a_prompt_that_ran_at_two_crashes_is_given_up() -> None:
    backlog, given_up = crash(Backlog().seen(queue(B, running=A), 1))
    assert not given_up

    backlog, given_up = crash(rescued(backlog).seen(queue(B, running=A), 2))

    assert given_up == ["a"]
    assert ids(backlog) == ["b"]


def test_a_prompt_that_crashed_once_and_then_ran_well_may_crash_once_more() -> None:
    backlog, _ = crash(Backlog().seen(queue(running=A), 1))
    backlog = rescued(backlog).seen(queue(running=A), 2).seen(queue(), 3)

    backlog, given_up = crash(backlog.seen(queue(running=A), 4))

    assert not given_up
    assert ids(backlog) == ["a"]


def test_an_end_that_was_asked_for_counts_against_no_prompt() -> None:
    backlog = Backlog()
    for _ in range(5):
        backlog, given_up = rescued(backlog).seen(queue(running=A), 1).lost(ALL, crashed=False)
        assert not given_up

    assert ids(backlog) == ["a"]


def test_the_next_is_suspected_once_the_running_one_has_left() -> None:
    """A finished, B was taken and crashed at once, before anybody could look."""
    seen = Backlog().seen(queue(B, C, running=A), 1).told(2)

    backlog, _ = crash(seen)

    assert frozenset("b") == backlog.struck
    assert ids(backlog) == ["a", "b", "c"]


def test_the_first_that_was_handed_in_is_suspected_of_a_crash_before_the_next_look() -> None:
    backlog, _ = crash(Backlog().seen(queue(B, running=A), 1))

    backlog, given_up = crash(backlog.handed_in(A, 0))

    assert given_up == ["a"]
    assert ids(backlog) == ["b"]


def test_what_was_handed_in_goes_before_what_is_still_owed() -> None:
    backlog, _ = Backlog().seen(queue(A, B, C), 1).lost(ALL, crashed=False)

    backlog, _ = backlog.handed_in(A, 0).lost(ALL, crashed=False)

    assert ids(backlog) == ["a", "b", "c"]


def test_what_the_new_process_has_already_is_not_owed() -> None:
    backlog, _ = Backlog().seen(queue(A, B), 1).lost(ALL, crashed=False)

    assert ids(backlog.seen(queue(running=prompt(9, "a")), 2)) == ["b"]


def test_what_was_drained_is_owed_in_its_order_with_late_arrivals() -> None:
    backlog = Backlog().seen(queue(B, C, running=D), 1).withdrawn()
    backlog = backlog.seen(queue(A, running=D), 2).withdrawn().seen(queue(), 3)

    assert ids(backlog.lost(ALL, crashed=False)[0]) == ["a", "b", "c"]


def test_what_began_to_run_before_it_could_be_taken_out_is_not_drained() -> None:
    backlog = Backlog().seen(queue(A, B), 1).withdrawn().seen(queue(running=A), 2)

    assert tuple(each.id for each in backlog.drained) == ("b",)


def test_what_is_not_kept_stays_where_it_can_be_run() -> None:
    unkept = replace(B, content=None)

    backlog = replace(Backlog(), waiting=(A, unkept)).withdrawn()

    assert (unkept,) == backlog.waiting
    assert backlog.drained == (A,)


@pytest.mark.parametrize(
    ("rescue", "owed", "given_up"),
    [(Rescue.ALL, "abc", ""), (Rescue.WAITING, "bc", "a"), (Rescue.NONE, "", "abc")],
)
def test_the_policy_chooses_what_is_rescued(rescue: Rescue, owed: str, given_up: str) -> None:
    backlog, lost = crash(Backlog().seen(queue(B, C, running=A), 1), rescue)

    assert list(owed) == ids(backlog)
    assert list(given_up) == lost


def test_a_removed_instance_gives_up_all() -> None:
    backlog, given_up = Backlog().seen(queue(B, running=A), 1).forgotten(REMOVED)

    assert backlog.is_empty
    assert [(x.prompt_id, x.reason) for x in given_up] == [("a", "removed"), ("b", "removed")]


def test_what_is_too_much_to_keep_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "KEPT_BYTES", 100)
    big = [prompt(number, content=b"x" * 40) for number in range(5)]

    backlog, given_up = Backlog().seen(queue(*big), 1).lost(ALL, crashed=False)

    assert ids(backlog) == ["p0", "p1"]
    assert [(each.prompt_id, each.reason) for each in given_up] == [
        ("p2", "not_kept"),
        ("p3", "not_kept"),
        ("p4", "not_kept"),
    ]


def test_too_many_are_reported_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "KEPT_PROMPTS", 2)

    _, given_up = Backlog().seen(queue(A, B, C), 1).lost(ALL, crashed=False)

    assert [each.prompt_id for each in given_up] == ["c"]


def test_a_running_prompt_keeps_since_when_it_runs() -> None:
    backlog = Backlog().seen(queue(running=A), 1).seen(queue(B, running=A), 5)

    assert [each.since for each in backlog.running] == [1]


# ---- whatever happens

NAMES = st.sampled_from("abcdefgh")
QUEUES = st.lists(NAMES, unique=True, max_size=6)


@st.composite
def steps(draw: st.DrawFn) -> list[tuple[str, list[str]]]:
    kinds = st.sampled_from(["seen", "told", "crash", "end", "drain", "rescue"])
    return [(draw(kinds), draw(QUEUES)) for _ in range(draw(st.integers(1, 20)))]


def live(backlog: Backlog, kind: str, names: list[str]) -> tuple[Backlog, tuple[GivenUp, ...]]:
    prompts = [prompt(number, name) for number, name in enumerate(names)]
    match kind:
        case "seen":
            return backlog.seen(Snapshot(tuple(prompts[:1]), tuple(prompts[1:])), 1), ()
        case "told":
            return backlog.told(len(names)), ()
        case "drain":
            return backlog.withdrawn(), ()
        case "rescue":
            return rescued(backlog), ()
        case _:
            return backlog.lost(ALL, crashed=kind == "crash")


@given(steps())
def test_no_prompt_is_lost_by_an_end(story: list[tuple[str, list[str]]]) -> None:
    """Whatever was known before an end is owed after it, or given up and said to be."""
    backlog = Backlog()
    for kind, names in story:
        before = [each.id for each in backlog.all]
        backlog, given_up = live(backlog, kind, names)
        if kind in ("crash", "end", "drain", "rescue"):
            after = [each.id for each in backlog.all] + [each.prompt_id for each in given_up]
            assert sorted(before) == sorted(after)


@given(st.lists(NAMES, unique=True, min_size=1))
def test_a_crash_loop_comes_to_an_end(names: list[str]) -> None:
    """Each process dies as soon as it works on anything, sometimes before it is looked at."""
    backlog = Backlog().seen(Snapshot((), tuple(prompt(n, x) for n, x in enumerate(names))), 0)
    crashes = 0
    while not backlog.is_empty:
        backlog, _ = crash(backlog)
        backlog = rescued(backlog)
        if crashes % 2 and backlog.waiting:
            backlog = backlog.seen(Snapshot(backlog.waiting[:1], backlog.waiting[1:]), 0)
        crashes += 1
        assert crashes <= 2 * len(names)
