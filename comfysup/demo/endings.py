"""Exits of the stand-in other than by SIGINT: exit codes, signals, the Manager's reboot."""

import os
import signal
import sys
import threading
from pathlib import Path
from typing import NoReturn

from comfysup.demo.misbehaviour import Ending, Later, Misbehaviour

SESSION = "__COMFY_CLI_SESSION__"


def end_at_start(misbehaviour: Misbehaviour) -> None:
    """Apply `STANDIN_EXIT_AT_START`, and start the timer of `STANDIN_EXIT_AFTER`."""
    if misbehaviour.exit_at_start is not None and _use_budget(misbehaviour.exit_budget):
        end(misbehaviour.exit_at_start, misbehaviour.stderr_tail)
    end_later(misbehaviour.exit_after, misbehaviour)


def end_later(later: Later | None, misbehaviour: Misbehaviour) -> None:
    """End the process after some seconds from another thread; uses up the budget now."""
    if later is None or not _use_budget(misbehaviour.exit_budget):
        return
    timer = threading.Timer(later.seconds, end, (later.ending, misbehaviour.stderr_tail))
    timer.daemon = True
    timer.start()


def end(ending: Ending, last_lines: str = "") -> None:
    """End this process from any thread without cleanup; returns if the signal is ignored."""
    if last_lines:
        print(last_lines, file=sys.stderr)
    sys.stdout.flush()
    sys.stderr.flush()
    if ending == "reboot":
        mark_reboot()
        os._exit(0)
    if isinstance(ending, signal.Signals):
        os.kill(os.getpid(), ending)
    else:
        os._exit(ending)


def mark_reboot() -> None:
    """Request a reboot as ComfyUI-Manager 3 and 4 do.

    If `__COMFY_CLI_SESSION__` is set, create that file with the suffix `.reboot`; the caller must
    exit with 0. Otherwise replace the process in place, which keeps its pid.
    """
    session = os.environ.get(SESSION)
    if session is None:
        _replace()
    Path(f"{session}.reboot").touch()
    print("\nRestarting...\n\n", flush=True)


def _replace() -> NoReturn:
    print("\nRestarting... [Legacy Mode]\n\n")
    command = [sys.executable, *sys.argv]
    print(f"Command: {command}", flush=True)
    os.execv(sys.executable, command)  # noqa: S606 - its own interpreter and arguments


def _use_budget(budget: Path | None) -> bool:
    if budget is None:
        return True
    left = int(budget.read_text())
    if left > 0:
        budget.write_text(str(left - 1))
    return left > 0
