"""The handover of a daemon to the next program."""

import os
from collections.abc import Iterator

import pytest

from comfysup.linux.rundir.handover import VARIABLE, Handover, is_handed_over, receive_handover


@pytest.fixture
def descriptors() -> Iterator[list[int]]:
    """Open descriptors, inherited as after an exec."""
    opened = [os.open(os.devnull, os.O_RDONLY) for _ in range(4)]
    for each in opened:
        os.set_inheritable(each, True)  # noqa: FBT003 - that is its signature
    yield opened
    for each in opened:
        os.close(each)


def test_the_handover_format_of_the_first_version_is_read(descriptors: list[int]) -> None:
    lock, tcp, own, caller = descriptors
    text = f"lock={lock} tcp={tcp} own={own} tcp_callers={caller} own_callers="
    environ = {VARIABLE: text}

    assert is_handed_over(environ)
    handover = receive_handover(environ)

    assert handover == Handover(
        {"lock": [lock], "tcp": [tcp], "own": [own]}, {"tcp": [(caller, b"")], "own": []}
    )
    assert environ == {}
    assert not any(map(os.get_inheritable, descriptors))


@pytest.mark.parametrize("text", ["", "1:3", "lock=x tcp=1", "lock=999999 tcp=1 own=2", "lock=0"])
def test_a_handover_for_another_process_is_ignored(text: str) -> None:
    environ = {VARIABLE: text}

    assert not is_handed_over(environ)
    assert not receive_handover(environ)
    assert environ == {}


def test_descriptors_that_were_not_inherited_are_those_of_another_process(
    descriptors: list[int],
) -> None:
    """The variable was inherited by a program that the daemon started."""
    lock, tcp, own, _ = descriptors
    os.set_inheritable(lock, False)  # noqa: FBT003 - that is its signature

    assert not is_handed_over({VARIABLE: f"lock={lock} tcp={tcp} own={own}"})
