"""The node classes of the stand-in.

`EmptyImage`, `PreviewImage` and `SaveImage` have the inputs of ComfyUI's, so one workflow runs on
both. The others exist only in the stand-in; each is an output node:

| class | inputs | effect |
|---|---|---|
| `StandInSleep` | `seconds` | sleeps; can be interrupted |
| `StandInWait` | `path` | waits until that path exists; can be interrupted |
| `StandInStubborn` | `seconds` | sleeps; cannot be interrupted |
| `StandInBurn` | `seconds` | uses CPU; the event loop keeps running |
| `StandInBlock` | `seconds`, `burn`? | blocks the whole process; uses CPU if `burn` |
| `StandInCrash` | `ending`, `message`?, `seconds`? | ends the process: code, signal or `reboot` |
| `StandInFail` | `message` | raises RuntimeError |
| `StandInMute` | `after` | blocks the event loop for good once that path exists |
| `StandInEndWorker` | `after`?, `loud`? | ends the worker thread, at once or `after` the prompt |
| `StandInFlood` | `lines`, `width`? | writes numbered lines to stdout |
| `SaveText` | `text`, `filename_prefix` | writes a file in the output directory |
"""

import secrets
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from comfysup.demo import endings
from comfysup.demo.misbehaviour import Flood, ending
from comfysup.demo.output import show_progress, write_flood
from comfysup.demo.places import Places

Inputs = dict[str, Any]
Ui = dict[str, list[Any]]

_STEP_SECONDS = 0.1
_POLL_SECONDS = 0.02
# The smallest picture: one grey pixel.
_PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010800000000"
    "3a7e9b550000000a4944415478da6368000000820081da45083b0000000049454e44ae426082"
)


class InterruptedPromptError(Exception):
    """A client requested the interruption of the running prompt."""


@dataclass(slots=True)
class Context:
    """The interfaces that a running node may use."""

    places: Places
    progress: Callable[[int, int], None]
    bars: bool
    mute: Callable[[], None]
    interrupted: threading.Event = field(default_factory=threading.Event)
    worker_ends: bool = False


@dataclass(frozen=True, slots=True)
class Node:
    """One node class: its required inputs and its function."""

    run: Callable[[Inputs, Context], Ui | None]
    required: tuple[str, ...] = ()
    is_output: bool = True


def _sleep(inputs: Inputs, context: Context) -> Ui:
    seconds = float(inputs["seconds"])
    until = time.monotonic() + seconds
    steps = max(1, round(seconds / _STEP_SECONDS))
    for step in range(1, steps + 1):
        left = until - time.monotonic()
        if context.interrupted.wait(max(0.0, left / (steps - step + 1))):
            raise InterruptedPromptError
        context.progress(step, steps)
        if context.bars:
            show_progress(step, steps)
    return {"text": [f"slept {seconds} s"]}


def _wait(inputs: Inputs, context: Context) -> Ui:
    while not Path(inputs["path"]).exists():
        if context.interrupted.wait(_POLL_SECONDS):
            raise InterruptedPromptError
    return {"text": ["waited"]}


def _sleep_stubbornly(inputs: Inputs, _: Context) -> Ui:
    time.sleep(float(inputs["seconds"]))
    return {"text": ["slept"]}


def _burn(inputs: Inputs, context: Context) -> Ui:
    until = time.monotonic() + float(inputs["seconds"])
    while time.monotonic() < until:
        if context.interrupted.is_set():
            raise InterruptedPromptError
        sum(range(10_000))
    return {"text": ["burnt"]}


def _block(inputs: Inputs, _: Context) -> Ui:
    """Hold the GIL so that no other thread runs, as some libraries do while loading a model."""
    seconds = float(inputs["seconds"])
    before = sys.getswitchinterval()
    sys.setswitchinterval(seconds + 1)
    until = time.monotonic() + seconds
    try:
        if inputs.get("burn"):
            while time.monotonic() < until:
                sum(range(10_000))
        else:
            _sleep_with_gil(seconds)
    finally:
        sys.setswitchinterval(before)
    return {"text": ["blocked"]}


def _sleep_with_gil(seconds: float) -> None:
    import ctypes  # noqa: PLC0415 - only this node needs it

    c_library = ctypes.PyDLL(None)  # a PyDLL keeps the GIL during a call
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        c_library.usleep(min(900_000, int(left * 1e6)))


def _crash(inputs: Inputs, _: Context) -> None:
    time.sleep(float(inputs.get("seconds", 0)))
    endings.end(ending(str(inputs["ending"])), str(inputs.get("message", "")))


def _fail(inputs: Inputs, _: Context) -> None:
    raise RuntimeError(inputs["message"])


def _mute(inputs: Inputs, context: Context) -> Ui:
    """Block the event loop, which ends all responses and messages; the worker continues."""
    while not Path(inputs["after"]).exists():
        time.sleep(_STEP_SECONDS)
    context.mute()
    return {"text": ["muted"]}


def _end_worker(inputs: Inputs, context: Context) -> None:
    if inputs.get("loud"):
        raise GeneratorExit("not an Exception, so no handler catches it")
    if not inputs.get("after"):
        sys.exit("a node ends its thread")
    context.worker_ends = True


def _flood(inputs: Inputs, _: Context) -> Ui:
    write_flood(Flood(int(inputs["lines"]), width=int(inputs.get("width", 80))))
    return {"text": ["flooded"]}


def _preview_image(_: Inputs, context: Context) -> Ui:
    prefix = "".join(secrets.choice("abcdefghijklmnopqrstupvxyz") for _ in range(5))
    path = _write(context.places.temp, f"ComfyUI_temp_{prefix}", ".png", _PNG)
    return {"images": [{"filename": path.name, "subfolder": "", "type": "temp"}]}


def _save_image(inputs: Inputs, context: Context) -> Ui:
    path = _write(context.places.output, inputs["filename_prefix"], ".png", _PNG)
    return {"images": [{"filename": path.name, "subfolder": "", "type": "output"}]}


def _save_text(inputs: Inputs, context: Context) -> Ui:
    text = str(inputs["text"])
    path = _write(context.places.output, inputs["filename_prefix"], ".txt", text.encode())
    return {"text": [path.name]}


def _write(directory: Path, prefix: str, suffix: str, data: bytes) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    name = Path(prefix).name
    number = 1 + sum(1 for _ in directory.glob(f"{name}_*{suffix}"))
    path = directory / f"{name}_{number:05d}_{suffix}"
    path.write_bytes(data)
    return path


NODES = {
    "EmptyImage": Node(lambda _, __: None, is_output=False),
    "PreviewImage": Node(_preview_image, ("images",)),
    "SaveImage": Node(_save_image, ("images", "filename_prefix")),
    "SaveText": Node(_save_text, ("text", "filename_prefix")),
    "StandInSleep": Node(_sleep, ("seconds",)),
    "StandInWait": Node(_wait, ("path",)),
    "StandInStubborn": Node(_sleep_stubbornly, ("seconds",)),
    "StandInBurn": Node(_burn, ("seconds",)),
    "StandInBlock": Node(_block, ("seconds",)),
    "StandInCrash": Node(_crash, ("ending",)),
    "StandInFail": Node(_fail, ("message",)),
    "StandInEndWorker": Node(_end_worker),
    "StandInMute": Node(_mute, ("after",)),
    "StandInFlood": Node(_flood, ("lines",)),
}
