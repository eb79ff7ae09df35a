"""The rows of an instance table and the sentences below each row.

Pure text from `InstanceView`, or any object with its attributes, so that the API's `output` and the
command line are the same. Its imports are light, because `comfysup status` uses it.
"""

import unicodedata
from collections.abc import Iterator
from datetime import datetime

from comfysup.api.views.instances import InstanceView
from comfysup.model.printable import printable_line

MEBIBYTE = 1 << 20
GIBIBYTE = 1 << 30

LONG_PROMPT = 60.0
"""Seconds after which a running prompt is worth a line."""


def facts(view: InstanceView) -> dict[str, str]:
    """Return the cells of an instance's row by heading, `-` for an unknown value."""
    return {
        "ID": str(view.id),
        "NAME": printable_line(view.name),
        "STATE": view.state,
        "PORT": str(view.port),
        "PID": "-" if view.pid is None else str(view.pid),
        "ENVIRONMENT": printable_line(view.environment),
        "UPTIME": "-" if view.uptime_seconds is None else duration(view.uptime_seconds),
        "RESTARTS": str(view.restarts),
        "QUEUE": _queue(view),
        "MEMORY": "-" if view.usage is None else size(view.usage.rss_bytes),
        "GPU": _gpus(view),
    }


NUMBERS = frozenset({"ID", "PORT", "PID", "UPTIME", "RESTARTS", "QUEUE", "MEMORY"})
"""Headings of right-aligned columns."""


def sentences(view: InstanceView, now: float) -> Iterator[tuple[str, str]]:
    """Yield the remarks on an instance beside its facts: a label and one line of text.

    `now` is wall-clock seconds. A hint follows its reason or problem.
    """
    yield from _ending(view, now)
    if view.ready and view.health.failures > 1:
        yield "problem", f"no response to the last {view.health.failures} probes"
    hints = {condition.hint: None for condition in view.conditions}
    for hint in hints:
        for condition in view.conditions:
            if condition.hint == hint:
                yield "problem", one_line(condition.message)
        if hint:
            yield "hint", one_line(hint)
    for prompt in view.queue.running_prompts if view.queue else ():
        seconds = now - wall(prompt.since)
        if seconds >= LONG_PROMPT:
            yield (
                "note",
                f"prompt {printable_line(prompt.id)} has been running for {duration(seconds)}",
            )


def _ending(view: InstanceView, now: float) -> Iterator[tuple[str, str]]:
    """Yield why the last process ended, if its end was not requested."""
    end = view.last_exit
    if end is None or end.expected or view.state == "stopped":
        return
    if view.ready:
        if view.restarts:
            yield "note", f"restarted after: {one_line(end.message)}"
        return
    yield "reason", one_line(end.message)
    if end.hint:
        yield "hint", one_line(end.hint)
    if end.prompts:
        yield "note", f"prompt {printable_line(', '.join(end.prompts))} was running"
    if view.next_restart_at is not None:
        yield "note", f"next start in {duration(max(0.0, wall(view.next_restart_at) - now))}"


def _queue(view: InstanceView) -> str:
    """Return how many prompts run and wait: `1+3`."""
    if view.queue is not None:
        return f"{view.queue.running}+{view.queue.pending}"
    return "?" if view.ready else "-"


def _gpus(view: InstanceView) -> str:
    """Return the memory held on each GPU, or else the requested GPUs."""
    if view.usage is not None and view.usage.gpus:
        return ", ".join(f"{each.index}: {size(each.memory_bytes)}" for each in view.usage.gpus)
    return "-" if view.gpu is None else printable_line(view.gpu)


def duration(seconds: float) -> str:
    """Return a duration by its two largest units: `3d 4h`, `2m 5s`, `7s`."""
    minutes, second = divmod(int(seconds), 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    units = ((days, "d"), (hour, "h"), (minute, "m"), (second, "s"))
    first = next((place for place, (count, _) in enumerate(units) if count), len(units) - 1)
    return " ".join(f"{count}{unit}" for count, unit in units[first : first + 2])


def size(count: int) -> str:
    """Return a number of bytes in the unit that suits it: `812 MiB`, `3.1 GiB`."""
    if count < GIBIBYTE:
        return f"{count / MEBIBYTE:.0f} MiB"
    return f"{count / GIBIBYTE:.1f} GiB"


def wall(timestamp: str) -> float:
    """Return the wall-clock seconds of an RFC 3339 text."""
    return datetime.fromisoformat(timestamp).timestamp()


def one_line(text: str) -> str:
    """Return the first line of a text, harmless on a terminal."""
    return printable_line(text.partition("\n")[0])


def width(text: str) -> int:
    """Return how many columns a terminal gives to a text in any script."""
    if text.isascii():
        return len(text)
    wide = sum(unicodedata.east_asian_width(char) in "WF" for char in text)
    return len(text) + wide - sum(map(bool, map(unicodedata.combining, text)))


def padded(cell: str, columns: int, *, right: bool) -> str:
    """Return a cell padded to that many columns, right-aligned with `right`."""
    blanks = " " * (columns - width(cell))
    return blanks + cell if right else cell + blanks
