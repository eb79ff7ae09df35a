"""What is run again after an end, in which order, and what is given up."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comfysup.comfyui.queue import backlog as module
from comfysup.comfyui.queue.backlog import Backlog
from comfysup.comfyui.queue.given_up import REMOVED, GivenUp
from comfysup.comfyui.queue.prompts import Prompt, Snapshot
from comfysup.model.spec import Rescue

ALL = Rescue.ALL


def prompt(number: float, prompt_id: str = "", content: bytes | None = b"[]") -> Prompt:
    return Prompt(number, prompt_id or f"p{number:g}", content)


def queue(*waiting: Prompt, running: Prompt | None = None) -> Snapshot:
    return Snapshot((running,) if running else (), waiting)


def ids(backlog: Backlog) -> list[str]:
    return [each.id for each in backlog.owed]


def crash(backlog: Backlog, rescue: Rescue = ALL) -> tuple[Backlog, list[str]]:
    left, given_up = backlog.lost(rescue, crashed=True)
    return left, [str(each.prompt_id) for each in given_up]


def rescued(backlog: Backlog) -> Backlog:
    """Hands in all that is owed to a process that numbers from 0."""
    for number, each in enumerate(backlog.owed):
        backlog = backlog.submitted(each, number)
    return backlog


A, B, C, D = (prompt(number, name) for number, name in enumerate("abcd"))


def test_after_a_crash_the_running_one_is_first_and_the_others_follow_in_their_order() -> None:
    left, given_up = crash(Backlog().seen(queue(B, C, running=D), 1))

    assert ids(left) == ["d", "b", "c"]
    assert not given_up


def test_a_finished_prompt_is_not_owed() -> None:
    backlog = Backlog().seen(queue(B, running=A), 1).seen(queue(running=B), 2)

    assert ids(crash(backlog)[0]) == ["b"]


def test_a_strike_outlives_a_word_that_was_sent_before_the_submission() -> None:
    """The process had told that it had nothing, and that was read after its answer to the POST."""
    left, _ = crash(Backlog().seen(queue(running=A), 1))
    submitted = rescued(left.seen(queue(), 2))

    stale = submitted.heard(0)
    _, given_up = crash(stale.heard(1).seen(queue(running=A), 3))

    assert not stale.is_whole
    assert crash(stale)[1] == ["a"]
    assert given_up == ["a"]


def test_one_that_was_submitted_stays_when_the_one_before_it_has_left() -> None:
    left, _ = crash(Backlog().seen(queue(B, running=A), 1))
    backlog = left.seen(queue(running=C), 2).submitting(A).submitted(A, 5).heard(1).heard(0)

    assert [each.id for each in backlog.all] == ["a", "b"]
    assert crash(backlog)[1] == ["a"]


def test_an_emptied_queue_is_known_without_a_look() -> None:
    backlog = Backlog().seen(queue(running=A), 1).heard(0)

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
    seen = Backlog().seen(queue(B, C, running=A), 1).heard(2)

    backlog, _ = crash(seen)

    assert frozenset("b") == backlog.struck
    assert ids(backlog) == ["a", "b", "c"]


def test_the_first_that_was_submitted_is_suspected_of_a_crash_before_the_next_look() -> None:
    backlog, _ = crash(Backlog().seen(queue(B, running=A), 1))

    backlog, given_up = crash(backlog.submitted(A, 0))

    assert given_up == ["a"]
    assert ids(backlog) == ["b"]


def test_submitted_prompts_precede_prompts_still_owed() -> None:
    backlog, _ = Backlog().seen(queue(A, B, C), 1).lost(ALL, crashed=False)

    backlog, _ = backlog.submitted(A, 0).lost(ALL, crashed=False)

    assert ids(backlog) == ["a", "b", "c"]


def test_a_prompt_that_the_new_process_has_is_not_owed() -> None:
    backlog, _ = Backlog().seen(queue(A, B), 1).lost(ALL, crashed=False)

    assert ids(backlog.seen(queue(running=prompt(9, "a")), 2)) == ["b"]


def test_drained_prompts_and_late_arrivals_are_owed_in_queue_order() -> None:
    backlog = Backlog().seen(queue(B, C, running=D), 1).withdrawn()
    backlog = backlog.seen(queue(A, running=D), 2).withdrawn().seen(queue(), 3)

    assert ids(backlog.lost(ALL, crashed=False)[0]) == ["a", "b", "c"]


def test_a_prompt_that_started_before_its_withdrawal_is_not_drained() -> None:
    backlog = Backlog().seen(queue(A, B), 1).withdrawn().seen(queue(running=A), 2)

    assert tuple(each.id for each in backlog.drained) == ("b",)


def test_a_prompt_without_stored_content_is_not_withdrawn() -> None:
    unkept = replace(B, content=None)

    backlog = replace(Backlog(), waiting=(A, unkept)).withdrawn()

    assert (unkept,) == backlog.waiting
    assert backlog.drained == (A,)


@pytest.mark.parametrize(
    ("rescue", "owed", "given_up"),
    [(Rescue.ALL, "abc", ""), (Rescue.WAITING, "bc", "a"), (Rescue.NONE, "", "abc")],
)
def test_the_policy_selects_the_rescued_prompts(rescue: Rescue, owed: str, given_up: str) -> None:
    backlog, lost = crash(Backlog().seen(queue(B, C, running=A), 1), rescue)

    assert list(owed) == ids(backlog)
    assert list(given_up) == lost


def test_a_removed_instance_gives_up_all() -> None:
    backlog, given_up = Backlog().seen(queue(B, running=A), 1).forgotten(REMOVED)

    assert backlog.is_empty
    assert [(x.prompt_id, x.reason) for x in given_up] == [("a", "removed"), ("b", "removed")]


def test_prompts_beyond_the_size_limit_are_reported_as_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
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


# ---- what was accepted and not seen


def test_prompts_that_were_accepted_and_not_seen_are_reported_with_their_number() -> None:
    backlog, given_up = Backlog().seen(queue(), 1).heard(4).lost(ALL, crashed=True)

    assert backlog.is_empty
    [unseen] = given_up
    assert (unseen.prompt_id, unseen.reason, unseen.count) == (None, "unseen", 4)


def test_one_that_left_makes_room_for_one_that_was_not_seen() -> None:
    """A finished and another one was accepted: the depth is what it was."""
    backlog = Backlog().seen(queue(running=A), 1).heard(2).heard(1)

    assert (backlog.unseen, backlog.is_whole) == (1, False)
    assert backlog.seen(queue(running=B), 2).is_whole


def test_a_submission_announced_before_its_response_is_not_unseen() -> None:
    backlog, _ = Backlog().seen(queue(A, B), 1).lost(ALL, crashed=False)
    backlog = backlog.seen(queue(), 2).submitting(A).heard(1)
    assert backlog.unseen == 0

    assert backlog.submitted(A, 0).unseen == 0


# ---- who is guilty


def test_one_that_ends_the_process_before_its_submission_is_answered_is_suspected() -> None:
    """Its neighbour was submitted before it and has finished, as the depth tells."""
    backlog, _ = Backlog().seen(queue(A, B), 1).lost(ALL, crashed=False)
    given_up: list[str] = []
    for _ in range(2):
        if A in backlog.owed:
            backlog = backlog.submitted(A, 0)
        backlog, lost = crash(backlog.heard(1).heard(0).submitting(B))
        given_up += lost

    assert given_up == ["b"]


def test_messages_about_changes_already_in_the_response_are_not_counted_as_unseen() -> None:
    """A node held the GIL; the look that waited is answered before all that had happened."""
    before = Backlog().seen(queue(running=A), 0)
    look = before.seen(queue(C, D, running=B), 1)

    heard = look
    for remaining in (0, 1, 1, 2, 3):  # A ends; B comes, and is taken; C and D come
        heard = heard.heard(remaining)

    assert (heard.depth, heard.told, heard.left, heard.unseen) == (3, 3, 0, 0)
    assert heard.at_work(crashed=True) == "b"
    assert heard.heard(4).unseen == 1


def test_messages_received_before_a_response_are_not_awaited() -> None:
    before = Backlog().seen(queue(running=A), 0).heard(2).heard(3)
    look = before.seen(queue(B, C, running=A), 1)

    assert look.heard(2).left == 1


def test_changes_before_an_empty_queue_do_not_count_for_a_later_response() -> None:
    empty = Backlog().seen(queue(A), 0).heard(1).heard(0)  # A is taken, and ends
    heard = empty.seen(queue(C, D, running=B), 1)

    for remaining in (1, 1, 2, 3):
        heard = heard.heard(remaining)

    assert (heard.told, heard.left, heard.unseen) == (3, 0, 0)


def test_messages_sent_before_a_reconnect_are_not_awaited() -> None:
    look = Backlog().seen(queue(running=A), 0).connected().seen(queue(B, running=A), 1)

    assert look.heard(1).left == 1


def test_messages_that_never_come_are_waited_for_until_nothing_changes() -> None:
    """A proxy, say, that passes on the last of many alone."""
    look = Backlog().seen(queue(running=A), 0).seen(queue(B, C, D, running=A), 1)

    assert look.seen(queue(B, C, D, running=A), 2).heard(3).left == 1


def test_one_whose_end_only_the_output_tells_is_not_run_again_and_the_next_is_suspected() -> None:
    before = Backlog().seen(queue(B, C, running=A), 0)

    left, given_up = crash(before.executed(1))
    assert (ids(left), sorted(left.struck), given_up) == (["b", "c"], ["b"], [])

    left, gone = before.executed(1).lost(Rescue.WAITING, crashed=False)
    assert ids(left) == ["c"]
    assert [each.prompt_id for each in gone] == ["b"]


def test_of_several_whose_end_only_the_output_tells_the_first_is_certain() -> None:
    """The others need not have been those that were next in line when the queue was last seen."""
    left, given_up = crash(Backlog().seen(queue(B, C, running=A), 0).executed(2))

    assert (ids(left), sorted(left.struck), given_up) == (["b", "c"], ["c"], [])


def test_an_end_that_the_output_tells_too_is_not_counted_twice() -> None:
    before = Backlog().seen(queue(B, C, running=A), 0).heard(2)

    left, given_up = crash(before.executed(1))

    assert (ids(left), sorted(left.struck), given_up) == (["b", "c"], ["b"], [])


def test_a_mark_belongs_to_one_run_of_a_prompt() -> None:
    running = Backlog().seen(queue(running=A), 0).marked(A.key, "here")
    again = replace(A, number=7.0)

    assert running.seen(queue(B, running=A), 1).running[0].mark == "here"
    assert running.seen(queue(running=again), 1).running[0].mark == ""
    assert running.marked(B.key, "there") == running


@pytest.mark.parametrize("silent", [False, True])
def test_of_a_process_that_hangs_the_first_in_line_is_at_work(*, silent: bool) -> None:
    """It was submitted, and held the GIL before it was seen running."""
    waiting = replace(Backlog().seen(queue(A, B), 0), silent=silent)

    left, given_up = waiting.lost(Rescue.WAITING, crashed=False)

    assert ids(left) == (["b"] if silent else ["a", "b"])
    assert [each.prompt_id for each in given_up] == (["a"] if silent else [])


def test_a_submission_that_a_hanging_process_never_answered_is_at_work() -> None:
    owed, _ = crash(Backlog().seen(queue(B, running=A), 0))
    submitting = replace(owed.submitting(owed.owed[0]), silent=True)

    left, given_up = submitting.lost(Rescue.WAITING, crashed=False)

    assert ids(left) == ["b"]
    assert [each.prompt_id for each in given_up] == ["a"]


def test_a_process_that_answers_again_hangs_no_more() -> None:
    assert not replace(Backlog().seen(queue(A), 0), silent=True).seen(queue(A), 1).silent


def test_a_prompt_that_was_not_posted_is_not_suspected() -> None:
    backlog, _ = Backlog().seen(queue(A, B), 1).lost(ALL, crashed=False)

    backlog, _ = crash(backlog.submitting(A).settled(A))

    assert not backlog.struck


def test_one_that_outlasts_a_drain_has_a_strike_and_is_given_up_at_the_next() -> None:
    backlog = Backlog()
    given_up: tuple[GivenUp, ...] = ()
    for _ in range(2):
        assert not given_up
        backlog = replace(rescued(backlog).seen(queue(B, running=A), 1), overdue=True)
        backlog, given_up = backlog.lost(ALL, crashed=False)

    assert [(each.prompt_id, each.reason) for each in given_up] == [("a", "crashed_twice")]
    assert ids(backlog) == ["b"]


# ---- what a caller chooses


@pytest.mark.parametrize(
    ("choice", "owed"), [(Rescue.ALL, "abc"), (Rescue.WAITING, "bc"), (Rescue.NONE, "")]
)
def test_a_choice_goes_before_the_policy(choice: Rescue, owed: str) -> None:
    backlog, _ = Backlog().seen(queue(B, C, running=A), 1).chosen(choice, at_end=True)

    backlog, given_up = backlog.lost(Rescue.NONE, crashed=False)

    assert list(owed) == ids(backlog)
    assert {each.reason for each in given_up} <= {"unwanted"}
    assert backlog.choice is None


@pytest.mark.parametrize(
    ("choice", "owed"), [(Rescue.ALL, "abc"), (Rescue.WAITING, "bc"), (Rescue.NONE, "")]
)
def test_a_rescue_choice_applies_to_prompts_already_owed(choice: Rescue, owed: str) -> None:
    """The one that ran at a stop is known from those that waited."""
    backlog, _ = Backlog().seen(queue(B, C, running=A), 1).lost(ALL, crashed=False)

    backlog, given_up = backlog.chosen(choice, at_end=False)

    assert list(owed) == ids(backlog)
    assert len(given_up) == 3 - len(owed)
    assert backlog.choice is None


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
            return backlog.heard(len(names)), ()
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
        before, unseen = [each.id for each in backlog.all], backlog.unseen
        backlog, given_up = live(backlog, kind, names)
        if kind in ("crash", "end", "drain", "rescue"):
            after = [each.id for each in backlog.all] + [each.prompt_id or "" for each in given_up]
            assert sorted(before) == sorted(each for each in after if each)
        if kind in ("crash", "end"):
            assert sum(each.count for each in given_up if each.prompt_id is None) == unseen


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
