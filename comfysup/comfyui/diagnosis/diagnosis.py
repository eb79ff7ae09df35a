"""Why a process ended: how it ended, and its last log lines, made a reason, a sentence and a hint.

Only what ended it counts. ComfyUI survives a custom node that cannot be imported and a prompt that
runs out of memory, and logs both with a traceback like the one it dies with; threads, tasks and
destructors write tracebacks after the one that counts. So one sentence is chosen first, by who
wrote it and by what came after it, and only that is compared with what is known:

- of an abort, what a C library wrote right before it;
- of an exit, the exception that went through `main.py` uncaught, or a sentence that ComfyUI and
  Python write only when they exit;
- else what stands right at the end, with nothing but frames and advice behind it.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from signal import Signals
from typing import TypeAlias

from comfysup.comfyui.diagnosis.circumstances import Circumstances
from comfysup.comfyui.diagnosis.line_kinds import (
    GGML_ERROR,
    GGML_SENTENCE,
    NATIVE_SENTENCE,
    NOISE,
    OTHERS,
    SURVIVED,
    TERMINAL,
    bare,
)
from comfysup.comfyui.diagnosis.patterns import ABORT, PATTERNS, PERMANENT, SIGNALS
from comfysup.comfyui.diagnosis.patterns.pattern import PYTHON_HINT, Pattern
from comfysup.comfyui.diagnosis.transcript import Traceback, shown_tail, tracebacks
from comfysup.supervision.life import REBOOT, Exit

MAX_LINES = 200
TAIL_LINES = 20
"""How many of the last lines stand in an exit."""
_MESSAGE_CHARS = 300
_WORDS_CHARS = 200

_SENTENCES = 12
"""Maximum number of lines to match; a C++ backtrace adds fifty more without information."""

_STARTED = re.compile(
    r"Starting server|To see the GUI go to|Import times for custom|ComfyUI version: "
)
_CRASH = re.compile(r"Fatal Python error: ")
_THREAD = re.compile(r"(?P<current>Current thread|Thread) 0x")
_DIRECTORY = re.compile(r"(?<!\S)\.{0,2}/\S*/(?=[^/\s:]+:\d+\b)")
"""Of a file of which a line is named; some are so long that nothing else would fit."""
_CUSTOM_NODE = re.compile(r"""custom_nodes/([^/"]+)""")
_WHAT = re.compile(r"  what\(\):\s+(.*)")
_FIRST_SIGNAL_CODE = 128
UNKNOWN = Circumstances()
UNREAD = "its last lines could not be read in time"

_Explanation: TypeAlias = tuple[str, str, str]
"""The reason, message and hint of an exit; the hint is empty if no remedy is known."""


@dataclass(frozen=True, slots=True)
class _Verdict:
    """The sentence that ended a process, the lines that belong to it, and its origin.

    `quoted`: the sentence is only the last output, which may not be the cause.
    """

    lines: Sequence[str]
    words: str = ""
    node: str | None = None
    native: bool = False
    frames: Sequence[str] = ()
    """The frames of its traceback, each as `file:function`."""
    quoted: bool = False

    @property
    def said(self) -> str:
        """The sentence and the custom node, as the end of a message."""
        words = f"{'; last output' if self.quoted else ''}: {self.words}" if self.words else ""
        return words + (f", in the custom node {self.node!r}" if self.node else "")


def diagnose(
    *,
    at: float,
    exit_code: int | None,
    signal: str | None,
    log_tail: Sequence[str] | None,
    reboot: bool = False,
    oom_killed: bool = False,
    circumstances: Circumstances = UNKNOWN,
) -> Exit:
    """Return how and why a process ended; at most the last 200 lines are looked at.

    `signal` is a name like SIGKILL; `exit_code` and it are both None where the kernel no longer
    tells. `log_tail` is None where it could not be read. `reboot` says that ComfyUI asked to be
    started again. `oom_killed` says that its cgroup counted a kill for memory in this time.
    """
    lines = log_tail or ()
    if reboot:
        reason, message, hint = REBOOT, "requested by ComfyUI", ""
    else:
        reason, message, hint = _explain(exit_code, signal, lines, circumstances, oom_killed)
        message = message if log_tail is not None else f"{message}; {UNREAD}"
    return Exit(
        at,
        reason,
        message,
        exit_code=exit_code,
        signal=signal,
        expected=reboot,
        hint=hint,
        log_tail=tuple(shown_tail(lines, TAIL_LINES)),
        permanent=reason in PERMANENT,
    )


def _explain(
    exit_code: int | None,
    signal: str | None,
    log_tail: Sequence[str],
    circumstances: Circumstances,
    oom_killed: bool,  # noqa: FBT001 - passed on
) -> _Explanation:
    signal = signal or _signal_of_wrapper(exit_code)
    if signal == "SIGKILL" and oom_killed:
        return (
            "host_out_of_memory",
            "killed by the kernel: the container ran out of memory",
            "give the container more memory, or run fewer instances or smaller models",
        )
    if exit_code == 0:
        return _by_ending(exit_code, None, "")
    plain = (bare(line) for line in log_tail[-MAX_LINES:])
    lines = [line for line in plain if not OTHERS.match(line)]
    if signal not in {None, "SIGABRT"}:
        return _by_signal(signal, lines)
    verdict = _verdict(lines, aborted=signal == "SIGABRT", unknown=exit_code is None)
    if found := _match(verdict):
        reason, message, hint = _by_pattern(*found, verdict.node, circumstances)
        if verdict.native and reason == "exit":
            reason = ABORT[0]
        return reason, message, hint
    if signal == "SIGABRT" or verdict.native:
        return _by_abort(verdict)
    return _by_ending(exit_code, signal, verdict.said)


def _signal_of_wrapper(exit_code: int | None) -> str | None:
    """Return the signal that a shell around the interpreter passes on as 128 and its number."""
    if exit_code is None or exit_code <= _FIRST_SIGNAL_CODE:
        return None
    try:
        return Signals(exit_code - _FIRST_SIGNAL_CODE).name
    except ValueError:
        return None


# ---- the sentence that ended it


def _verdict(lines: list[str], *, aborted: bool, unknown: bool) -> _Verdict:
    since = _last(lines, SURVIVED) + 1
    found = tracebacks(lines)
    native = _native_sentence(lines, since, at_the_end=not aborted) if aborted or unknown else None
    if native is not None:
        return _of_native_sentence(lines[native:])
    if aborted:
        end = _at_the_end(lines, since, found, prompts=True)
        return end if end.node else replace(end, node=_node_of_crash(lines))
    terminal = _last(lines, TERMINAL)
    uncaught = _uncaught(lines, found)
    if terminal >= since and (uncaught is None or terminal > uncaught.start):
        return _Verdict(lines[terminal : terminal + _SENTENCES], lines[terminal])
    if uncaught is not None:
        return _of_traceback(uncaught, lines)
    return _at_the_end(lines, since, found, prompts=unknown)


def _last(lines: Sequence[str], pattern: re.Pattern[str]) -> int:
    """Return the index of the last line that matches, or -1."""
    for index in range(len(lines) - 1, -1, -1):
        if pattern.search(lines[index]):
            return index
    return -1


def _native_sentence(lines: Sequence[str], since: int, *, at_the_end: bool) -> int | None:
    """Return the index of the first line of a C library's final message, or None.

    With `at_the_end`, only crash output may follow it.
    """
    first = None
    for index in range(len(lines) - 1, since - 1, -1):
        line = lines[index]
        if NATIVE_SENTENCE.search(line) or _explains_ggml(line, lines, first):
            first = index
        elif not NOISE.match(line) and (first is not None or at_the_end):
            break
    return first


def _explains_ggml(line: str, lines: Sequence[str], first: int | None) -> bool:
    """Return whether a line completes ggml's final message; alone it does not end a process."""
    return (
        first is not None
        and lines[first].endswith(GGML_SENTENCE)
        and GGML_ERROR.match(line) is not None
    )


def _of_native_sentence(lines: Sequence[str]) -> _Verdict:
    found = NATIVE_SENTENCE.search(lines[0])
    words = _DIRECTORY.sub("", found["sentence"] if found else lines[0])
    if words.endswith(":") and len(lines) > 1:  # the sentence continues on the next line
        words += f" {lines[1].strip()}"
    spoken = [line for line in lines if _WHAT.match(line) or not NOISE.match(line)]
    for line in spoken:
        if what := _WHAT.match(line):
            words += f": {what[1]}"
    node = _first_node(lines) if _last(lines, _CRASH) < 0 else _node_of_crash(lines)
    return _Verdict(spoken[:_SENTENCES], words[:_WORDS_CHARS], node, native=True)


def _uncaught(lines: Sequence[str], found: Sequence[Traceback]) -> Traceback | None:
    """Return the traceback that ended the main thread, if there is one."""
    for traceback in reversed(found):
        if traceback.uncaught:
            went_on = any(_STARTED.search(line) for line in lines[traceback.end :])
            return None if went_on else traceback
    return None


def _of_traceback(traceback: Traceback, lines: Sequence[str]) -> _Verdict:
    texts = [line for text in traceback.texts for line in text]
    nodes = _CUSTOM_NODE.findall("\n".join(lines[traceback.start : traceback.end]))
    words = " ".join(texts[: 2 if texts[0].endswith(":") else 1]) if texts else ""
    frames = [f"{file}:{function}" for file, function in traceback.frames]
    return _Verdict(texts, words[:_WORDS_CHARS], nodes[-1] if nodes else None, frames=frames)


def _at_the_end(
    lines: Sequence[str], since: int, found: Sequence[Traceback], *, prompts: bool
) -> _Verdict:
    """Return the last line with information, or the traceback that ends the output.

    With `prompts`, the traceback of a prompt counts too, although it does not end the process.
    """
    survived = [each for each in found if each.survived and not (prompts and each.prompt)]
    plain = [each for each in found if each not in survived]
    for index in range(len(lines) - 1, since - 1, -1):
        if any(each.start - 1 <= index < each.spoken for each in survived):
            continue
        for traceback in plain:
            if traceback.start <= index < traceback.spoken:
                return _of_traceback(traceback, lines)
        if not NOISE.match(lines[index]):
            return _Verdict([lines[index]], lines[index][:_WORDS_CHARS], quoted=True)
    return _Verdict([])


def _first_node(lines: Sequence[str]) -> str | None:
    """Return the custom node that the fault handler names first: that of the innermost frame."""
    for line in lines:
        if found := _CUSTOM_NODE.search(line):
            return found[1]
    return None


def _node_of_crash(lines: Sequence[str]) -> str | None:
    """Return the custom node of the crashed thread by the fault handler's output, or None.

    The output also lists other threads, such as those of custom nodes that monitor the GPU. If it
    does not mark the crashed one among several, that thread ran no Python code.
    """
    stack = lines[crash:] if (crash := _last(lines, _CRASH)) >= 0 else ()
    heads = [(at, head) for at, line in enumerate(stack) if (head := _THREAD.match(line))]
    if not heads:
        return _first_node(stack)
    ends = [at for at, _ in heads[1:]] + [len(stack)]
    for (at, head), end in zip(heads, ends, strict=True):
        if head["current"].startswith("Current"):
            return _first_node(stack[at:end])
    return None


# ---- interpretation


def _match(verdict: _Verdict) -> tuple[Pattern, dict[str, str | None]] | None:
    for line in verdict.lines:
        for pattern in PATTERNS:
            found = pattern.match(line, verdict.frames)
            if found is None or (verdict.node and "own" in found):
                continue  # a custom node may contain a module of the same name
            return pattern, found
    return None


def _by_pattern(
    pattern: Pattern,
    found: dict[str, str | None],
    node: str | None,
    circumstances: Circumstances,
) -> _Explanation:
    groups = {name: value for name, value in found.items() if value is not None}
    if pattern.reason == "missing_module" and circumstances.other_python:
        return "wrong_python", circumstances.other_python, PYTHON_HINT
    first = next(iter(groups.values()), "")
    message = pattern.message.format_map(dict.fromkeys(found, first) | groups)
    if node is not None:
        message += f", in the custom node {node!r}"
    hint = circumstances.hint(pattern.reason, pattern.hint, groups, node)
    return pattern.reason, message[:_MESSAGE_CHARS], hint


def _by_signal(signal: str, lines: Sequence[str]) -> _Explanation:
    if signal not in SIGNALS:
        return _by_ending(None, signal, "")
    reason, message, hint = SIGNALS[signal]
    if node := _node_of_crash(lines):
        message += f", in the custom node {node!r}"
    return reason, message, hint


def _by_abort(verdict: _Verdict) -> _Explanation:
    reason, message, hint = ABORT
    said = replace(verdict, quoted=not verdict.native).said
    return reason, (message + said)[:_MESSAGE_CHARS], hint


def _by_ending(exit_code: int | None, signal: str | None, said: str) -> _Explanation:
    if signal is not None:
        return "signal", f"terminated by {signal}{said}", ""
    if exit_code is None:
        return "exit", f"exited; exit status unavailable{said}", ""
    return "exit", f"exited unexpectedly with code {exit_code}{said}", ""
