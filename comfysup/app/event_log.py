"""What happens to instances, as it stands in the daemon's own log."""

import logging
from typing import Final

import structlog

from comfysup.supervision.events import LifecycleEvent
from comfysup.supervision.instance import Instance
from comfysup.supervision.life import Exit, Recover, Stopping, Stuck
from comfysup.supervision.transitions import cannot_kill

log = structlog.get_logger()

ENDINGS: Final = frozenset({LifecycleEvent.EXITED, LifecycleEvent.FAILED})
"""What is logged with the reason for which a process ended."""

LEVELS: Final = {
    LifecycleEvent.UNRESPONSIVE: logging.WARNING,
    LifecycleEvent.FAILED: logging.ERROR,
    LifecycleEvent.STUCK: logging.ERROR,
}
"""The levels of what is not `info`; an exit that nobody asked for is a `warning` too."""


def log_notice(instance: Instance, notice: LifecycleEvent) -> None:
    """Write one line: which instance, which process, and for an end why and what to do."""
    life = instance.life
    run = life.run
    facts: dict[str, object] = {
        "instance": instance.spec.id,
        "name": instance.spec.name,
        "pid": run.pid if run else None,
        "generation": life.generation,
    }
    level = LEVELS.get(notice, logging.INFO)
    match life.state:
        case Stopping(then=Recover(verdict=(reason, message))) if notice not in ENDINGS:
            facts |= {"reason": reason, "message": message}
        case Stuck(remnants=remnants) if notice is LifecycleEvent.STUCK:
            facts["message"] = cannot_kill(remnants)
        case _ if notice in ENDINGS and life.last_exit:
            facts |= _ending(life.last_exit)
            if not life.last_exit.expected:
                level = max(level, logging.WARNING)
        case _:
            pass
    log.log(level, str(notice), **facts)


def _ending(end: Exit) -> dict[str, object]:
    """Return how a process ended; what a stop that was asked for needs no words for is left out."""
    facts: dict[str, object] = {
        "exit_code": end.exit_code,
        "signal": end.signal,
        "reason": end.reason,
    }
    if not end.expected:
        facts |= {"message": end.message, "hint": end.hint or None, "prompts": end.prompts}
    return facts
