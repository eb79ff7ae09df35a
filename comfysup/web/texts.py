"""What people read: the table of all instances, and sentences about one."""

import unicodedata
from collections.abc import Sequence

from comfysup.supervision.fleet import Outcome, Result
from comfysup.supervision.instance import Instance
from comfysup.web.views import InstanceView

NOTHING = "No ComfyUI instances are known."
HEADINGS = ("ID", "NAME", "STATE", "PORT", "PID", "ENVIRONMENT", "UPTIME", "RESTARTS", "NOTE")
GAP = "  "


def status_table(instances: Sequence[InstanceView]) -> str:
    """Return one line for each instance, below headings, in columns."""
    if not instances:
        return NOTHING + "\n"
    rows = [HEADINGS, *(_row(instance) for instance in instances)]
    widths = [max(map(_width, column)) for column in zip(*rows, strict=True)]
    lines = (GAP.join(map(_padded, row, widths)).rstrip() for row in rows)
    return "".join(f"{line}\n" for line in lines)


def troubles(sentences: Sequence[str]) -> str:
    """Return a line for each thing that the daemon cannot do at present."""
    return "".join(f"comfysup {sentence}\n" for sentence in sentences)


def duration(seconds: float) -> str:
    """Return a time as people say it, by its two largest units: `3d 4h`, `2m 5s`, `7s`."""
    minutes, second = divmod(int(seconds), 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    units = ((days, "d"), (hour, "h"), (minute, "m"), (second, "s"))
    first = next((place for place, (count, _) in enumerate(units) if count), len(units) - 1)
    return " ".join(f"{count}{unit}" for count, unit in units[first : first + 2])


def started(instance: Instance) -> str:
    """Return the sentence about an instance that was started, or ran already."""
    run, spec = instance.life.run, instance.spec
    what = "is starting"
    if run and run.ready:
        what = f"is ready after {run.ready.monotonic - run.started.monotonic:.1f} s"
    pid = f" (pid {run.pid})" if run else ""
    return f"Instance {spec.label} {what} on port {spec.port}{pid}\n"


def failure(result: Result) -> str:
    """Return why an instance does not run and what to do, with the last lines of its log."""
    end = result.exit
    if end is None:
        return result.message
    hint = (f"what to do: {end.hint}",) if end.hint else ()
    return "\n".join((result.message, *hint, *end.log_tail))


def stopped(results: Sequence[Result]) -> str:
    """Return a line for each instance that was told to stop."""
    lines = [_stop_line(result) for result in results]
    return "".join(f"{line}\n" for line in lines) or NOTHING + "\n"


def _stop_line(result: Result) -> str:
    label = result.instance.spec.label if result.instance else "?"
    if result.outcome is Outcome.DONE:
        return f"Instance {label} stopped"
    return f"Instance {label} could not be stopped: {result.message}"


def _row(view: InstanceView) -> tuple[str, ...]:
    uptime = "-" if view.uptime_seconds is None else duration(view.uptime_seconds)
    note = view.last_exit.message if view.last_exit and not view.last_exit.expected else ""
    pid = "-" if view.pid is None else str(view.pid)
    return (
        str(view.id),
        view.name,
        view.state,
        str(view.port),
        pid,
        view.environment,
        uptime,
        str(view.restarts),
        "" if view.ready else note.partition("\n")[0],
    )


def _padded(cell: str, width: int) -> str:
    return cell + " " * (width - _width(cell))


def _width(cell: str) -> int:
    """Return how many columns a terminal gives to a text in any script."""
    if cell.isascii():
        return len(cell)
    wide = sum(unicodedata.east_asian_width(char) in "WF" for char in cell)
    return len(cell) + wide - sum(map(bool, map(unicodedata.combining, cell)))
