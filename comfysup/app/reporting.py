"""Where the daemon says what happens: its log, events, `troubles`, and the answer of `status`."""

import logging
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from typing import Final

import structlog

from comfysup.api.event_publisher import EventPublisher
from comfysup.api.services import DaemonFacts, StatusBoard
from comfysup.api.views.resources import InstanceView
from comfysup.app.autolaunch import Shortfall
from comfysup.config.settings import Settings
from comfysup.linux.conditions import Conditions
from comfysup.linux.process.handle import refusal_of_pidfds
from comfysup.supervision.events import LifecycleEvent
from comfysup.supervision.instance import Instance
from comfysup.supervision.journal import Journal
from comfysup.supervision.life import Exit, Moment, Recover, Stopping, Stuck
from comfysup.supervision.transitions import cannot_kill


@dataclass(frozen=True, slots=True)
class Reporting:
    """What says what happens. `shortfall` is what instances.json asks for and the table lacks."""

    board: StatusBoard
    publisher: EventPublisher
    facts: DaemonFacts
    troubles: Conditions
    shortfall: Shortfall


def make_reporting(
    settings: Settings, last_event: int, show: Callable[[Instance], InstanceView]
) -> Reporting:
    """Begin with nothing to say.

    `last_event` is the id of the last event of the program before this one in this process, 0 where
    there was none. `show` gives an instance as events show it.
    """
    board = StatusBoard()
    journal = Journal(last_event + 1 if last_event else _milliseconds_since_boot())
    publisher = EventPublisher(journal, now, show)
    handles = "pidfd" if refusal_of_pidfds() is None else "polling"
    facts = DaemonFacts(version("comfysup"), os.getpid(), now(), settings.shown(), handles)

    def tell_of_troubles() -> None:
        board.invalidate()
        publisher.troubles(facts, troubles.sentences)

    troubles = Conditions(tell_of_troubles)
    shortfall = Shortfall(settings.instances_file, troubles.report)
    return Reporting(board, publisher, facts, troubles, shortfall)


def now() -> Moment:
    """Return this instant."""
    return Moment(time.monotonic(), time.time())


def _milliseconds_since_boot() -> int:
    """Where the ids of a life begin: after those of all earlier ones, with nothing to be kept.

    No clock that somebody sets is in it, and nobody makes a thousand events a second for long.
    """
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000


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
