"""Reports of prompts that are given up together."""

from comfysup.comfyui.queue.given_up import (
    NOT_KEPT,
    TOLD_SINGLY,
    UNSEEN,
    UNWANTED,
    GivenUp,
    grouped,
)


def test_few_given_up_prompts_are_reported_individually() -> None:
    few = [GivenUp(f"p{number}", *NOT_KEPT) for number in range(TOLD_SINGLY)]

    assert list(grouped(few)) == few


def test_the_rest_of_many_is_counted_by_reason() -> None:
    """A queue of 100,000 prompts must not emit 100,000 events, which take half a minute."""
    many = [GivenUp(f"p{number}", *NOT_KEPT) for number in range(100_000)]
    others = [GivenUp("u", *UNWANTED), GivenUp(None, *UNSEEN, 7)]

    told = list(grouped([*many, *others]))

    assert told == [
        *many[:TOLD_SINGLY],
        GivenUp(None, *NOT_KEPT, 100_000 - TOLD_SINGLY),
        GivenUp(None, *UNWANTED, 1),
        GivenUp(None, *UNSEEN, 7),
    ]
