"""Which prompts are resubmitted after an exit, in which order, and which are given up."""

from dataclasses import replace

import pytest

from comfysup.comfyui.queue import backlog as module
from comfysup.comfyui.queue.backlog import Backlog
from comfysup.comfyui.queue.given_up import REMOVED
from comfysup.model.spec import Rescue
from tests.unit.comfyui.queue.backlogs import ALL, A, B, C, D, crash, ids, prompt, queue, rescued


def test_after_a_crash_the_running_prompt_precedes_the_waiting_ones() -> None:
    left, given_up = crash(Backlog().seen(queue(B, C, running=D), 1))

    assert ids(left) == ["d", "b", "c"]
    assert not given_up


def test_a_finished_prompt_is_not_owed() -> None:
    backlog = Backlog().seen(queue(B, running=A), 1).seen(queue(running=B), 2)

    assert ids(crash(backlog)[0]) == ["b"]


def test_a_strike_outlives_a_message_sent_before_the_submission() -> None:
    """The message of an empty queue was sent before, and read after, the response to the POST."""
    left, _ = crash(Backlog().seen(queue(running=A), 1))
    submitted = rescued(left.seen(queue(), 2))

    stale = submitted.heard(0)
    _, given_up = crash(stale.heard(1).seen(queue(running=A), 3))

    assert not stale.is_whole
    assert crash(stale)[1] == ["a"]
    assert given_up == ["a"]


def test_a_submitted_prompt_is_kept_when_the_prompt_before_it_has_left() -> None:
    left, _ = crash(Backlog().seen(queue(B, running=A), 1))
    backlog = left.seen(queue(running=C), 2).submitting(A).submitted(A, 5).heard(1).heard(0)

    assert [each.id for each in backlog.all] == ["a", "b"]
    assert crash(backlog)[1] == ["a"]


def test_an_emptied_queue_is_known_without_a_request() -> None:
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


def test_the_next_prompt_is_suspected_once_the_running_one_has_left() -> None:
    """A finished, and B started and crashed before the queue was read."""
    seen = Backlog().seen(queue(B, C, running=A), 1).heard(2)

    backlog, _ = crash(seen)

    assert frozenset("b") == backlog.struck
    assert ids(backlog) == ["a", "b", "c"]


def test_the_first_submitted_prompt_is_suspected_of_a_crash_before_the_next_response() -> None:
    backlog, _ = crash(Backlog().seen(queue(B, running=A), 1))

    backlog, given_up = crash(backlog.submitted(A, 0))

    assert given_up == ["a"]
    assert ids(backlog) == ["b"]


def test_submitted_prompts_precede_prompts_still_owed() -> None:
    backlog, _ = Backlog().seen(queue(A, B, C), 1).lost(ALL, crashed=False)

    backlog, _ = backlog.submitted(A, 0).lost(ALL, crashed=False)

    assert ids(backlog) == ["a", "b", "c"]


def test_a_prompt_in_the_new_process_is_not_owed() -> None:
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


def test_prompts_beyond_the_count_limit_are_reported_as_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "KEPT_PROMPTS", 2)

    _, given_up = Backlog().seen(queue(A, B, C), 1).lost(ALL, crashed=False)

    assert [each.prompt_id for each in given_up] == ["c"]


# ---- what was accepted and not seen


def test_prompts_that_were_accepted_and_not_seen_are_reported_with_their_number() -> None:
    backlog, given_up = Backlog().seen(queue(), 1).heard(4).lost(ALL, crashed=True)

    assert backlog.is_empty
    [unseen] = given_up
    assert (unseen.prompt_id, unseen.reason, unseen.count) == (None, "unseen", 4)


def test_a_finished_prompt_at_an_unchanged_depth_implies_an_unseen_one() -> None:
    """A finished and another prompt was accepted: the depth is unchanged."""
    backlog = Backlog().seen(queue(running=A), 1).heard(2).heard(1)

    assert (backlog.unseen, backlog.is_whole) == (1, False)
    assert backlog.seen(queue(running=B), 2).is_whole


def test_a_submission_announced_before_its_response_is_not_unseen() -> None:
    backlog, _ = Backlog().seen(queue(A, B), 1).lost(ALL, crashed=False)
    backlog = backlog.seen(queue(), 2).submitting(A).heard(1)
    assert backlog.unseen == 0

    assert backlog.submitted(A, 0).unseen == 0


# ---- what a caller chooses


@pytest.mark.parametrize(
    ("choice", "owed"), [(Rescue.ALL, "abc"), (Rescue.WAITING, "bc"), (Rescue.NONE, "")]
)
def test_a_rescue_choice_overrides_the_policy(choice: Rescue, owed: str) -> None:
    backlog, _ = Backlog().seen(queue(B, C, running=A), 1).chosen(choice, at_end=True)

    backlog, given_up = backlog.lost(Rescue.NONE, crashed=False)

    assert list(owed) == ids(backlog)
    assert {each.reason for each in given_up} <= {"unwanted"}
    assert backlog.choice is None


@pytest.mark.parametrize(
    ("choice", "owed"), [(Rescue.ALL, "abc"), (Rescue.WAITING, "bc"), (Rescue.NONE, "")]
)
def test_a_rescue_choice_applies_to_prompts_already_owed(choice: Rescue, owed: str) -> None:
    """The prompt that ran at a stop is distinguished from the waiting ones."""
    backlog, _ = Backlog().seen(queue(B, C, running=A), 1).lost(ALL, crashed=False)

    backlog, given_up = backlog.chosen(choice, at_end=False)

    assert list(owed) == ids(backlog)
    assert len(given_up) == 3 - len(owed)
    assert backlog.choice is None


def test_a_running_prompt_keeps_its_start_time() -> None:
    backlog = Backlog().seen(queue(running=A), 1).seen(queue(B, running=A), 5)

    assert [each.since for each in backlog.running] == [1]
