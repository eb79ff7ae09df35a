"""Properties of the backlog over all sequences of events."""

from hypothesis import given
from hypothesis import strategies as st

from comfysup.comfyui.queue.backlog import Backlog
from comfysup.comfyui.queue.given_up import GivenUp
from comfysup.comfyui.queue.prompts import Snapshot
from tests.unit.comfyui.queue.backlogs import ALL, crash, prompt, rescued

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
def test_no_exit_loses_a_prompt(story: list[tuple[str, list[str]]]) -> None:
    """Every known prompt is owed after an exit, or reported as given up."""
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
def test_repeated_crashes_end_with_an_empty_backlog(names: list[str]) -> None:
    """Each process dies with its first prompt, sometimes before its queue is read."""
    backlog = Backlog().seen(Snapshot((), tuple(prompt(n, x) for n, x in enumerate(names))), 0)
    crashes = 0
    while not backlog.is_empty:
        backlog, _ = crash(backlog)
        backlog = rescued(backlog)
        if crashes % 2 and backlog.waiting:
            backlog = backlog.seen(Snapshot(backlog.waiting[:1], backlog.waiting[1:]), 0)
        crashes += 1
        assert crashes <= 2 * len(names)
