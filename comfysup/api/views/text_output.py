"""Text output: the table of all instances, and sentences about one."""

from collections.abc import Mapping, Sequence

from comfysup.api.views.instance_table import NUMBERS, facts, padded, sentences, width
from comfysup.api.views.instances import InstanceView
from comfysup.model.printable import printable, printable_line
from comfysup.supervision.instance import Instance
from comfysup.supervision.results import Outcome, Result

NOTHING = "No ComfyUI instances are known."
GAP = "  "
INDENT = "    "


def status_table(instances: Sequence[InstanceView], now: float) -> str:
    """Return a row for each instance below headings, with its remarks below the row.

    `now` is wall-clock seconds.
    """
    if not instances:
        return NOTHING + "\n"
    rows = [facts(instance) for instance in instances]
    columns = {
        heading: max(width(heading), *(width(row[heading]) for row in rows)) for heading in rows[0]
    }
    lines = [_line({heading: heading for heading in columns}, columns)]
    for instance, row in zip(instances, rows, strict=True):
        lines.append(_line(row, columns))
        lines += [f"{INDENT}{label}: {text}" for label, text in sentences(instance, now)]
    return "".join(f"{line}\n" for line in lines)


def troubles(sentences: Sequence[str]) -> str:
    """Return a line for each thing that the daemon cannot do at present."""
    return "".join(f"comfysup {printable_line(sentence)}\n" for sentence in sentences)


def started(instance: Instance) -> str:
    """Return the sentence about an instance that was started, or ran already."""
    run, spec = instance.life.run, instance.spec
    what = "is starting"
    if run and run.ready:
        what = f"is ready after {run.ready.monotonic - run.started.monotonic:.1f} s"
    pid = f" (pid {run.pid})" if run else ""
    return f"Instance {printable_line(spec.label)} {what} on port {spec.port}{pid}\n"


def failure(result: Result) -> str:
    """Return why an instance does not run, the remedy, and the last lines of its log."""
    end = result.exit
    if end is None:
        return printable(result.message)
    hint = (f"hint: {end.hint}",) if end.hint else ()
    return printable("\n".join((result.message, *hint, *end.log_tail)))


def stopped(results: Sequence[Result]) -> str:
    """Return a line for each instance that was to stop."""
    lines = [_stop_line(result) for result in results]
    return "".join(f"{line}\n" for line in lines) or NOTHING + "\n"


def _stop_line(result: Result) -> str:
    label = result.instance.spec.label if result.instance else "?"
    if result.outcome is Outcome.DONE:
        return f"Instance {printable_line(label)} stopped"
    return printable(f"Instance {label} could not be stopped: {result.message}")


def _line(row: Mapping[str, str], columns: Mapping[str, int]) -> str:
    cells = (
        padded(row[heading], count, right=heading in NUMBERS) for heading, count in columns.items()
    )
    return GAP.join(cells).rstrip()
