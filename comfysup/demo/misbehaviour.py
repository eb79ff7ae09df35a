"""Misbehaviour of the stand-in, set by environment variables with the prefix `STANDIN_`.

| variable | value | effect |
|---|---|---|
| `LOAD_SECONDS` | seconds, default 0.05 | loading takes at least this long |
| `NEVER_READY` | `1` | the port never opens |
| `EXIT_AT_START` | ENDING | ends after parsing its arguments |
| `EXIT_AFTER` | SECONDS:ENDING | ends this long after its start, even while loading |
| `EXIT_AFTER_READY` | SECONDS:ENDING | ends this long after its port has opened |
| `EXIT_BUDGET` | path of a file with a number | each ending above decrements it; no ending at 0 |
| `STDERR_TAIL` | text | written to stderr before such an ending |
| `IGNORE` | signals: `INT,TERM` | ignores them |
| `STOP_SECONDS` | seconds, default 0 | SIGINT takes this long; the open port does not respond |
| `CHILDREN` | kinds: `child,grandchild,group,session,port` | starts processes (see `relatives`) |
| `CHILDREN_IGNORE` | signals | those processes ignore them |
| `ORPHANS` | number | creates that many orphans, which exit with 0, 1, 2 … |
| `OUTPUT` | path | copies the bytes of the file to stdout while loading |
| `FLOOD` | LINES[:PER_SECOND[:WIDTH]] | writes numbered lines to stdout: `flood 000000000 xxx…` |
| `PROGRESS` | `1` | writes progress bars with carriage returns while loading and while nodes run |
| `BLOCK_LOOP` | SECONDS[@AFTER_READY] | blocks its event loop this long, once |
| `DATABASE_LOCK` | `0` | does not lock its database, as older versions of ComfyUI |

An ENDING is an exit code, the name of a signal (`SIGSEGV`, `KILL`), or `reboot`, the reboot of
ComfyUI-Manager. Any other name with this prefix makes the stand-in exit with 1, because it is
a typo in a test.
"""

import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

PREFIX = "STANDIN_"
Ending = int | signal.Signals | Literal["reboot"]


@dataclass(frozen=True, slots=True)
class Later:
    """An ending, and the seconds until it."""

    seconds: float
    ending: Ending


@dataclass(frozen=True, slots=True)
class Flood:
    """Numbered lines; without `per_second` they are written without pause."""

    lines: int
    per_second: float | None = None
    width: int = 80


@dataclass(frozen=True, slots=True)
class Block:
    """Seconds for which the event loop is blocked, and seconds from ready until then."""

    seconds: float
    after: float = 0.0


@dataclass(frozen=True, slots=True)
class Misbehaviour:
    """The parsed variables; the defaults cause no misbehaviour."""

    load_seconds: float = 0.05
    never_ready: bool = False
    exit_at_start: Ending | None = None
    exit_after: Later | None = None
    exit_after_ready: Later | None = None
    exit_budget: Path | None = None
    stderr_tail: str = ""
    ignore: tuple[signal.Signals, ...] = ()
    stop_seconds: float = 0.0
    children: tuple[str, ...] = ()
    children_ignore: tuple[signal.Signals, ...] = ()
    orphans: int = 0
    output: Path | None = None
    flood: Flood | None = None
    progress: bool = False
    block_loop: Block | None = None
    database_lock: bool = True

    @classmethod
    def read(cls, environ: Mapping[str, str]) -> "Misbehaviour":
        """Parse the variables; raises `SystemExit` for an unknown name or an invalid value."""
        fields: dict[str, Any] = {}
        for name, value in environ.items():
            if not name.startswith(PREFIX):
                continue
            field = name.removeprefix(PREFIX).lower()
            if field not in _READERS:
                raise SystemExit(f"invalid {PREFIX} settings: unknown variable {name}")
            try:
                fields[field] = _READERS[field](value)
            except ValueError as error:
                raise SystemExit(f"invalid {PREFIX} settings: {name}={value!r}: {error}") from None
        return cls(**fields)


def ending(text: str) -> Ending:
    """Parse an ENDING: `3`, `SIGSEGV`, `SEGV` or `reboot`."""
    if text == "reboot":
        return "reboot"
    return int(text) if text.isdigit() else _signal(text)


def _signal(text: str) -> signal.Signals:
    name = text.strip().upper()
    try:
        return signal.Signals[name if name.startswith("SIG") else f"SIG{name}"]
    except KeyError:
        raise ValueError(f"unknown signal {text!r}") from None


def _signals(text: str) -> tuple[signal.Signals, ...]:
    return tuple(_signal(word) for word in text.split(",") if word)


def _later(text: str) -> Later:
    seconds, _, end = text.partition(":")
    return Later(float(seconds), ending(end))


def _flood(text: str) -> Flood:
    lines, rate, width = [*text.split(":"), "", ""][:3]
    return Flood(int(lines), float(rate) if rate else None, int(width) if width else 80)


def _block(text: str) -> Block:
    seconds, _, after = text.partition("@")
    return Block(float(seconds), float(after or 0))


def _yes(text: str) -> bool:
    return text not in {"", "0"}


_READERS: dict[str, Callable[[str], object]] = {
    "load_seconds": float,
    "never_ready": _yes,
    "exit_at_start": ending,
    "exit_after": _later,
    "exit_after_ready": _later,
    "exit_budget": Path,
    "stderr_tail": str,
    "ignore": _signals,
    "stop_seconds": float,
    "children": lambda text: tuple(text.split(",")),
    "children_ignore": _signals,
    "orphans": int,
    "output": Path,
    "flood": _flood,
    "progress": _yes,
    "block_loop": _block,
    "database_lock": _yes,
}
