"""The transition table of the lifecycle, computed by asking `step` about every pair.

`python -m tests.unit.supervision.transition_table` writes it into docs/explanation/architecture.md.
"""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

from comfysup.model.spec import Policy, Restart
from comfysup.supervision.life import Life, Recover, Sweeping
from comfysup.supervision.lifecycle import step
from comfysup.supervision.lifecycle_events import Action, Emit, Event, Resolve, Signal, TreeGone
from comfysup.supervision.transitions import ImpossibleEventError
from tests.unit.supervision.situations import (
    END,
    EVENTS,
    GENERATION,
    NOW,
    RUN,
    SITUATIONS,
    Situation,
)

PAGE = Path(__file__).parents[3] / "docs" / "explanation" / "architecture.md"
MARKER = "<!-- transitions -->"
BOTH = ("recover or recover from a stable run", "recover, stable or not")
COUNTS = ("restarts", "failures", "backoffs")
LEGEND = """\
A cell lists only what changes. Pairs listed under *stays*, and reports of another generation,
change nothing. A pair listed under *impossible* is an internal error.
"""

Outcome: TypeAlias = tuple[Situation, Situation, tuple[Action, ...]]
"""A state, what it becomes, and what is done."""
Cells: TypeAlias = tuple[str, str]
"""What it becomes, and what is done, in words."""
STAYS: Cells = ("", "")


def render() -> str:
    """Return the tables as Markdown: one for each event, then one for what follows a failure."""
    tables = [_event_table(name, event) for name, event in EVENTS]
    return "\n".join([LEGEND, *tables, _failure_table()])


def page_with(table: str, page: str) -> str:
    """Return the page with `table` between its two markers."""
    before, _, after = page.split(MARKER)
    return f"{before}{MARKER}\n{table}{MARKER}{after}"


def _event_table(name: str, event: Event) -> str:
    outcomes = [outcome for each in SITUATIONS if (outcome := _outcome(each, event))]
    impossible = [each for each in SITUATIONS if not _outcome(each, event)]
    rows: dict[Cells, list[Situation]] = {}
    for outcome in outcomes:
        rows.setdefault(_cells(outcome, outcomes), []).append(outcome[0])
    stays = rows.pop(STAYS, [])
    lines = [f"**{name}**", ""]
    lines += _table("in", ((_named(group), *cells) for cells, group in rows.items()))
    lines += [f"*stays:* {_named(stays)}", ""] * bool(stays)
    lines += [f"*impossible:* {_named(impossible)}", ""] * bool(impossible)
    return "\n".join(lines)


def _failure_table() -> str:
    """Return the transitions of a failed run after its sweep, by policy and circumstances."""
    failed = Situation.of(Sweeping(RUN, 0.0, Recover(was_stable=False)))
    stable = Situation.of(Sweeping(RUN, 0.0, Recover(was_stable=True)))
    hopeless = Situation.of(failed.life.state, replace(END, permanent=True))
    clean = Situation.of(failed.life.state, replace(END, exit_code=0))
    circumstances = (
        ("exit code 0, `restart` is on-failure", clean, Policy(restart=Restart.ON_FAILURE)),
        ("exit code 0, `restart` is never", clean, Policy(restart=Restart.NEVER)),
        ("`restart` is never", failed, Policy(restart=Restart.NEVER)),
        ("`max_failures` in a row", failed, Policy(max_failures=failed.life.failures)),
        ("2 in a row, the last one permanent", hopeless, Policy()),
        ("else, after a stable run", stable, Policy()),
        ("else", failed, Policy()),
    )
    rows = (
        (name, *_cells(outcome, []))
        for name, situation, policy in circumstances
        if (outcome := _outcome(situation, TreeGone(GENERATION), policy))
    )
    title = "**What follows a failure** (recover), the first that fits"
    return "\n".join([title, "", *_table("when", rows)])


def _outcome(before: Situation, event: Event, policy: Policy | None = None) -> Outcome | None:
    """Call `step`; return None if the event cannot happen."""
    try:
        life, actions = step(before.life, event, NOW, policy or Policy())
    except ImpossibleEventError:
        return None
    return before, Situation(life), actions


# ---- in words


def _table(first: str, rows: Iterable[tuple[str, str, str]]) -> list[str]:
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return [f"| {first} | becomes | and does |", "|---|---|---|", *lines, ""] if lines else []


def _cells(outcome: Outcome, all_outcomes: list[Outcome]) -> Cells:
    before, after, actions = outcome
    changes = [_becomes(before, after, all_outcomes), *_counts(before.life, after.life)]
    return "; ".join(filter(None, changes)), ", ".join(_did(action) for action in actions)


def _becomes(before: Situation, after: Situation, all_outcomes: list[Outcome]) -> str:
    if before.kind != after.kind:
        news = [detail for detail in after.details if detail not in before.details]
        return f"{after.kind} ({', '.join(news)})" if news else after.kind
    news = [
        now
        for then, now, possible in zip(
            before.details, after.details, _occurring(after.kind, all_outcomes), strict=True
        )
        if now != then or len(possible) == 1
    ]
    if _is_later(before.life, after.life) and before.details == after.details:
        news.append("the deadline is later")
    elif getattr(before.life.state, "escalation", None) != getattr(
        after.life.state, "escalation", None
    ):
        news.append("by the quicker escalation")
    return ", ".join(news)


def _is_later(before: Life, after: Life) -> bool:
    return None not in (before.deadline, after.deadline) and before.deadline < after.deadline  # type: ignore[operator]


def _occurring(kind: str, outcomes: list[Outcome]) -> list[set[str]]:
    """Return the resulting values of each detail whose kind is unchanged."""
    details = [after.details for before, after, _ in outcomes if before.kind == after.kind == kind]
    return [set(values) for values in zip(*details, strict=True)]


def _counts(before: Life, after: Life) -> Iterable[str]:
    changes = {name: getattr(after, name) - getattr(before, name) for name in COUNTS}
    grown = [f"{name} + 1" for name, change in changes.items() if change > 0]
    forgotten = [name for name, change in changes.items() if change < 0]
    return [", ".join(grown), f"{', '.join(forgotten)} = 0" if forgotten else ""]


def _did(action: Action) -> str:
    match action:
        case Resolve(waits, verdict):
            return f"Resolve {' '.join(wait_for.name for wait_for in waits)}: {verdict.name}"
        case Signal(number):
            return number.name
        case Emit(notice):
            return f"Emit {notice.removeprefix('instance.')}"
        case _:
            return type(action).__name__


def _named(group: list[Situation]) -> str:
    """Name the kinds of that group, with details only where not all of a kind are in it."""
    kinds = dict.fromkeys(situation.kind for situation in group)
    return ", ".join(_kind_named(kind, group) for kind in kinds)


def _kind_named(kind: str, group: list[Situation]) -> str:
    here = [situation.details for situation in group if situation.kind == kind]
    everywhere = [situation.details for situation in SITUATIONS if situation.kind == kind]
    columns = zip(zip(*here, strict=True), zip(*everywhere, strict=True), strict=True)
    words = [
        " or ".join(dict.fromkeys(occurring))
        for occurring, possible in columns
        if set(occurring) != set(possible)
    ]
    short = ", ".join(words).replace(" or then ", " or ").replace(*BOTH)
    return f"{kind} ({short})" if words else kind


if __name__ == "__main__":
    PAGE.write_text(page_with(render(), PAGE.read_text("utf-8")), "utf-8")
