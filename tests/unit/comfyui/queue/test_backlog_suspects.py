"""Which prompt is suspected of the end of its process."""

from dataclasses import replace

import pytest

from comfysup.comfyui.queue.backlog import Backlog
from comfysup.comfyui.queue.given_up import GivenUp
from comfysup.model.spec import Rescue
from tests.unit.comfyui.queue.backlogs import ALL, A, B, C, D, crash, ids, queue, rescued


def test_a_prompt_that_ends_the_process_before_its_response_is_suspected() -> None:
    """The prompt submitted before it has finished, as the depth shows."""
    backlog, _ = Backlog().seen(queue(A, B), 1).lost(ALL, crashed=False)
    given_up: list[str] = []
    for _ in range(2):
        if A in backlog.owed:
            backlog = backlog.submitted(A, 0)
        backlog, lost = crash(backlog.heard(1).heard(0).submitting(B))
        given_up += lost

    assert given_up == ["b"]


def test_messages_about_changes_already_in_the_response_are_not_counted_as_unseen() -> None:
    """A node held the GIL; the delayed read is answered before all messages were sent."""
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


def test_missing_messages_are_awaited_until_the_queue_is_unchanged() -> None:
    """For example behind a proxy that forwards only the last of several messages."""
    look = Backlog().seen(queue(running=A), 0).seen(queue(B, C, D, running=A), 1)

    assert look.seen(queue(B, C, D, running=A), 2).heard(3).left == 1


def test_a_prompt_finished_according_to_the_output_is_dropped_and_the_next_is_suspected() -> None:
    before = Backlog().seen(queue(B, C, running=A), 0)

    left, given_up = crash(before.executed(1))
    assert (ids(left), sorted(left.struck), given_up) == (["b", "c"], ["b"], [])

    left, gone = before.executed(1).lost(Rescue.WAITING, crashed=False)
    assert ids(left) == ["c"]
    assert [each.prompt_id for each in gone] == ["b"]


def test_of_several_prompts_finished_according_to_the_output_only_the_first_is_dropped() -> None:
    """The others may differ from the prompts that were next when the queue was last read."""
    left, given_up = crash(Backlog().seen(queue(B, C, running=A), 0).executed(2))

    assert (ids(left), sorted(left.struck), given_up) == (["b", "c"], ["c"], [])


def test_a_finish_reported_by_message_and_output_counts_once() -> None:
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
def test_the_first_prompt_of_a_hanging_process_counts_as_running(*, silent: bool) -> None:
    """It was submitted, and held the GIL before it was seen running."""
    waiting = replace(Backlog().seen(queue(A, B), 0), silent=silent)

    left, given_up = waiting.lost(Rescue.WAITING, crashed=False)

    assert ids(left) == (["b"] if silent else ["a", "b"])
    assert [each.prompt_id for each in given_up] == (["a"] if silent else [])


def test_a_submission_without_a_response_of_a_hanging_process_counts_as_running() -> None:
    owed, _ = crash(Backlog().seen(queue(B, running=A), 0))
    submitting = replace(owed.submitting(owed.owed[0]), silent=True)

    left, given_up = submitting.lost(Rescue.WAITING, crashed=False)

    assert ids(left) == ["b"]
    assert [each.prompt_id for each in given_up] == ["a"]


def test_a_process_that_responds_again_no_longer_hangs() -> None:
    assert not replace(Backlog().seen(queue(A), 0), silent=True).seen(queue(A), 1).silent


def test_a_prompt_that_was_not_posted_is_not_suspected() -> None:
    backlog, _ = Backlog().seen(queue(A, B), 1).lost(ALL, crashed=False)

    backlog, _ = crash(backlog.submitting(A).settled(A))

    assert not backlog.struck


def test_a_prompt_that_exceeds_two_drains_is_given_up() -> None:
    backlog = Backlog()
    given_up: tuple[GivenUp, ...] = ()
    for _ in range(2):
        assert not given_up
        backlog = replace(rescued(backlog).seen(queue(B, running=A), 1), overdue=True)
        backlog, given_up = backlog.lost(ALL, crashed=False)

    assert [(each.prompt_id, each.reason) for each in given_up] == [("a", "crashed_twice")]
    assert ids(backlog) == ["b"]
