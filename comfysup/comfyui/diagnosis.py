"""Why a process ended: how it ended, and its last log lines, made a reason, a sentence and a hint.

Only what ended it counts. ComfyUI survives a custom node that cannot be imported and a prompt that
runs out of memory, and logs both with a traceback like the one it dies with; so whatever stands
before a line that shows it going on is left out, and of what remains the final traceback decides.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from comfysup.comfyui.patterns import PATTERNS, SIGNALS, SURVIVED, Pattern

MAX_LINES = 200
MAX_LINE_CHARS = 2_000
_MESSAGE_CHARS = 300
_WITHOUT_TRACEBACK = 60
"""Lines looked at where no traceback shows the place; a C++ backtrace has up to 50."""

_COLOUR = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_STAMP = re.compile(r"(?:\[[\d:. T-]{8,}\] ?|\d{4}-\d\d-\d\d[ T][\d:,.]+ - )?(?:[\w.]+ - )?")
_LEVEL = re.compile(r"\[?(?:DEBUG|INFO|WARNING|ERROR|CRITICAL)(?:\] ?| - )")
_CUSTOM_NODE = re.compile(r"""custom_nodes/([^/"]+)""")
_SPOKEN = re.compile(r"\S|  what\(\):")
_TRACEBACK = "Traceback (most recent call last):"
_SHELL_CODES = {128 + 6: "SIGABRT", 128 + 9: "SIGKILL", 128 + 11: "SIGSEGV"}
"""How a wrapper around the interpreter passes on the signal that ended it."""


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """Why a process ended. `hint` says what to do, and is empty where nobody knows."""

    reason: str
    message: str
    hint: str = ""

    @property
    def text(self) -> str:
        """Message and hint in one sentence."""
        return f"{self.message}; {self.hint}" if self.hint else self.message


def diagnose(
    *,
    exit_code: int | None,
    signal: str | None,
    log_tail: Sequence[str],
    oom_killed: bool = False,
    known_flags: frozenset[str] = frozenset(),
) -> Diagnosis:
    """Return why a process ended; at most the last 200 lines are looked at.

    `signal` is a name like SIGKILL; `exit_code` and it are both None where the kernel no longer
    tells. `oom_killed` says that its cgroup counted a kill for memory in this time. `known_flags`
    are those of its ComfyUI, to suggest one for a mistyped one.
    """
    signal = signal or _SHELL_CODES.get(exit_code or 0)
    if signal == "SIGKILL" and oom_killed:
        return Diagnosis(
            "host_out_of_memory",
            "the kernel killed it because the container ran out of memory",
            "give the container more memory, or run fewer instances or smaller models",
        )
    if signal not in {None, "SIGABRT"} or exit_code == 0:
        return _by_ending(exit_code, signal, "")
    lines = _final_lines(log_tail)
    verdict, node = _verdict(lines)
    for line in reversed(verdict):
        for pattern in PATTERNS:
            if found := pattern.line.search(line):
                return _by_pattern(pattern, found, node, known_flags)
    return _by_ending(exit_code, signal, _last_words(verdict, node))


def _final_lines(log_tail: Sequence[str]) -> list[str]:
    """Return the lines since ComfyUI last went on, cleaned of colours, stamps and progress bars."""
    lines: list[str] = []
    for raw in reversed(log_tail[-MAX_LINES:]):
        line = _clean(raw)
        if SURVIVED.search(line):
            break
        lines.append(line)
    lines.reverse()
    return lines


def _clean(raw: str) -> str:
    line = raw.rstrip()
    line = line[line.rfind("\r") + 1 :][:MAX_LINE_CHARS]
    if "\x1b" in line:
        line = _COLOUR.sub("", line)
    if line[:1] in "[0123456789" and (stamp := _STAMP.match(line)):
        line = line[stamp.end() :]
    if level := _LEVEL.match(line):
        line = line[level.end() :]
    return line


def _verdict(lines: list[str]) -> tuple[list[str], str | None]:
    """Return the lines that may tell the reason, and the custom node where it happened.

    With a traceback those are its exception and what follows. What Python says of errors in
    destructors while it shuts down ("Exception ignored in") is not the traceback meant.
    """
    start = _final_traceback(lines)
    if start is None:
        return [line for line in lines[-_WITHOUT_TRACEBACK:] if _SPOKEN.match(line)], None
    end = start
    while end < len(lines) and (not lines[end] or lines[end][0].isspace()):
        end += 1
    nodes = [node for line in lines[start:end] for node in _CUSTOM_NODE.findall(line)]
    return [line for line in lines[end:] if _SPOKEN.match(line)], nodes[-1] if nodes else None


def _final_traceback(lines: list[str]) -> int | None:
    """Return the index of the line after the head of the last traceback."""
    for index in range(len(lines) - 1, -1, -1):
        ignored = index > 0 and lines[index - 1].startswith("Exception ignored in")
        if _TRACEBACK in lines[index] and not ignored:
            return index + 1
    return None


def _by_pattern(
    pattern: Pattern, found: re.Match[str], node: str | None, known_flags: frozenset[str]
) -> Diagnosis:
    message = pattern.message.format(**found.groupdict())
    hint = pattern.hint
    if node is not None:
        message += f", in the custom node {node!r}"
    if pattern.reason == "missing_module" and node is not None and "module" in found.groupdict():
        hint += f" (custom_nodes/{node}/requirements.txt), or remove that node"
    if pattern.reason == "unknown_argument" and "arguments" in found.groupdict():
        mistyped = found["arguments"].split()[0].partition("=")[0]
        if near := get_close_matches(mistyped, known_flags, n=1):
            hint += f": did you mean {near[0]}?"
    return Diagnosis(pattern.reason, message[:_MESSAGE_CHARS], hint)


def _by_ending(exit_code: int | None, signal: str | None, last_words: str) -> Diagnosis:
    said = f": {last_words}" if last_words else ""
    if signal in SIGNALS:
        return Diagnosis(*SIGNALS[signal])
    if signal is not None:
        return Diagnosis("signal", f"it was ended by {signal}{said}")
    if exit_code is None:
        return Diagnosis("exit", f"it ended, and how is not known any more{said}")
    return Diagnosis("exit", f"it exited by itself with code {exit_code}{said}")


def _last_words(verdict: list[str], node: str | None) -> str:
    """Return the exception that ended it, or else its last line."""
    if not verdict:
        return ""
    first = verdict[0]
    words = first if re.match(r"[\w.]+(?:Error|Exception|Interrupt|Exit)\b", first) else verdict[-1]
    where = f", in the custom node {node!r}" if node else ""
    return words[:_MESSAGE_CHARS] + where
