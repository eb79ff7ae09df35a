"""Parses the last output of a process: tracebacks, and which of them ended it.

A traceback alone does not show what it ended. Threads, tasks, destructors, exit handlers and
logging write tracebacks while the process continues; the line before each says so. A caught
exception that is printed begins at the frame that caught it. Only an uncaught exception has the
`<module>` of `main.py` as its first frame.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from comfysup.comfyui.diagnosis.line_kinds import bare

_HEADER = re.compile(r"Traceback \(most recent call last\):(?P<rest>.*)")
_GROUP = re.compile(r"\s*[|+][\s|+-]*")
_FRAME = re.compile(r'\s*File "(?P<file>[^"]+)", line \d+(?:, in (?P<function>.+))?')
_CAUSE = "The above exception was the direct cause of the following exception:"
_CONTEXT = "During handling of the above exception, another exception occurred:"
_CONTINUED = 8
"""Maximum number of lines read of an exception's text; most have one."""
_ORIGINAL = re.compile(r"Original error was: (?P<error>.+)")
_ADVICE = 40
"""Lines of advice between NumPy's empty `ImportError:` and the error that it hides."""

_SURVIVOR = re.compile(
    r"Exception in thread |Exception ignored |Error in atexit\._run_exitfuncs"
    r"|Exception in callback |(?:Task|Future) exception was never retrieved|Unhandled exception in "
    r"|(?:future|task|handle|protocol|transport|socket|server): <|--- Logging error ---"
    r"|Error handling request|!!! Exception during processing|Error processing line \d"
    r"|Error in (?:site|user)customize|Process \S+:$|Remainder of file ignored"
    r"|.*A module that was compiled using NumPy|Error upgrading database:"
)
"""Precedes a traceback that did not end the process."""

_PROMPT = "!!! Exception during processing"


@dataclass(slots=True)
class Traceback:
    """One traceback, chained ones included; `start`, `spoken` and `end` are indices of lines.

    Its text has one line for sure, and is `spoken` then; those until `end` may be others' lines.
    `survived` says that the process went on after it, `prompt` that a prompt ended by it, and
    `shown` that it is no error at all. `texts` are the texts of its exceptions, the one that was
    raised last first; one that was only being handled then is left out, since it need not be the
    cause.
    """

    start: int
    survived: bool
    prompt: bool
    shown: bool
    texts: list[list[str]] = field(default_factory=list)
    frames: list[tuple[str, str]] = field(default_factory=list)
    spoken: int = 0
    end: int = 0

    @property
    def uncaught(self) -> bool:
        """Return whether it passed the program's outermost frame and so ended the program.

        The line before it is ignored, because two threads may write at the same time.
        """
        if self.shown or not self.frames:
            return False
        file, function = self.frames[0]
        return function == "<module>" and file.rpartition("/")[2] == "main.py"


def tracebacks(lines: Sequence[str]) -> list[Traceback]:
    """Return all tracebacks in these bare lines."""
    found: list[Traceback] = []
    index = 0
    while index < len(lines):
        if header := _HEADER.search(lines[index]):
            traceback = _begin(lines, index, header, found)
            index = _read_part(lines, index, traceback)
        else:
            index += 1
    return found


def _begin(
    lines: Sequence[str], index: int, header: re.Match[str], found: list[Traceback]
) -> Traceback:
    """Return the traceback that this header belongs to: a new one, or the last of those found."""
    before = index - 1
    while before >= 0 and not lines[before].strip():
        before -= 1
    introduction = lines[before] if before >= 0 else ""
    member = _in_group(lines[index]) and found and found[-1].end == index
    if found and (member or introduction in (_CAUSE, _CONTEXT)):
        # The next part of the chain, or of the group, of the last one.
        last = found[-1]
        if introduction == _CONTEXT:
            last.texts.clear()
        last.frames = [] if introduction in (_CAUSE, _CONTEXT) else last.frames
        return last
    # NumPy prints its import location after "Traceback …:" on the same line.
    shown = header["rest"].lstrip().startswith("File ")
    survived = shown or _SURVIVOR.match(introduction) is not None
    started = Traceback(index, survived, introduction.startswith(_PROMPT), shown)
    found.append(started)
    return started


def _read_part(lines: Sequence[str], header: int, traceback: Traceback) -> int:
    """Read frames and exception after a header. Return the index of the next line."""
    index = header + 1
    in_group = _in_group(lines[header])
    frames = []
    while index < len(lines):
        line = _GROUP.sub("", lines[index], count=1) if in_group else lines[index]
        if frame := _FRAME.match(line):
            frames.append((frame["file"], frame["function"] or ""))
        elif line and not line[0].isspace() and not line.startswith("[Previous line repeated"):
            break
        index += 1
    traceback.frames += frames
    text = list(_text(lines, index, in_group=in_group))
    if text:
        traceback.texts.insert(0, [line for _, line in text])
        traceback.spoken = text[0][0] + 1
        if text[0][1].endswith(":"):  # the sentence continues on the next line
            traceback.spoken = text[-1][0] + 1
        index = text[-1][0] + 1
    traceback.end = index
    if in_group and index < len(lines) and lines[index].lstrip()[:2] in {"+-", "+ "}:
        traceback.end = index + 1  # the line that parts the members of a group
    return index


def _in_group(line: str) -> bool:
    """Return whether a line belongs to an exception group, which has a drawn frame."""
    return line.lstrip()[:1] in {"|", "+"}


def _text(lines: Sequence[str], index: int, *, in_group: bool) -> Iterator[tuple[int, str]]:
    if index < len(lines) and lines[index] == "ImportError:":
        for at in range(index, min(index + _ADVICE, len(lines))):
            if original := _ORIGINAL.match(lines[at]):
                yield index, lines[index]
                yield at, original["error"]
                return
    for at in range(index, min(index + _CONTINUED, len(lines))):
        line = lines[at]
        if in_group:
            if line.lstrip()[:1] == "+":
                return
            line = _GROUP.sub("", line, count=1)
        if not line.strip() or _HEADER.search(line) or _SURVIVOR.match(line):
            return
        if at > index and line in (_CAUSE, _CONTEXT):
            return
        yield at, line


def shown_tail(lines: Sequence[str], count: int) -> list[str]:
    """Return the last `count` lines without boilerplate.

    Omits argparse's usage before an error and the module list after a stack of the fault handler,
    which are several kilobytes without information.
    """
    kept: list[str] = []
    in_usage = False
    for line in lines:
        plain = bare(line)
        in_usage = plain.startswith("usage: ") or (in_usage and plain[:1].isspace())
        if not in_usage and not plain.startswith("Extension modules: "):
            kept.append(line)
    return kept[-count:]
