"""The outputs of the daemon: its log, events, `troubles`, and the response of `status`."""

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
from comfysup.api.views.instances import InstanceView
from comfysup.app.autolaunch import Shortfall
from comfysup.config.settings import Settings
from comfysup.linux.conditions import Conditions
from comfysup.linux.process.handle import refusal_of_pidfds
from comfysup.supervision.instance import Instance
from comfysup.supervision.journal import Journal
from comfysup.supervision.life import Exit, Moment, Recover, Stopping, Stuck
from comfysup.supervision.lifecycle_events import LifecycleEvent
from comfysup.supervision.stop_escalation import cannot_kill


@dataclass(frozen=True, slots=True)
class Reporting:
    """The reporting parts; `shortfall` holds the entries missing from the table."""

    board: StatusBoard
    publisher: EventPublisher
    facts: DaemonFacts
    troubles: Conditions
    shortfall: Shortfall


def make_reporting(
    settings: Settings, last_event: int, show: Callable[[Instance], InstanceView]
) -> Reporting:
    """Return the reporting parts, with empty conditions.

    `last_event` is the id of the last event of the previous program in this process, or 0. `show`
    returns the view of an instance in events.
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
    """Return the current time on both clocks."""
    return Moment(time.monotonic(), time.time())


def _milliseconds_since_boot() -> int:
    """Return a first event id above those of all earlier daemons, without stored state.

    The boot clock cannot be set, and no daemon publishes a thousand events a second for long.
    """
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000


log = structlog.get_logger()

ENDINGS: Final = frozenset({LifecycleEvent.EXITED, LifecycleEvent.FAILED})
"""The events that are logged with the reason for the exit."""

LEVELS: Final = {
    LifecycleEvent.UNRESPONSIVE: logging.WARNING,
    LifecycleEvent.FAILED: logging.ERROR,
    LifecycleEvent.STUCK: logging.ERROR,
}
"""The log levels other than `info`; an unexpected exit is logged as `warning` or higher."""


def log_notice(instance: Instance, notice: LifecycleEvent) -> None:
    """Log one lifecycle event; for an exit with its reason and hint."""
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
    """Return the log fields of an exit; a requested exit has no message."""
    facts: dict[str, object] = {
        "exit_code": end.exit_code,
        "signal": end.signal,
        "reason": end.reason,
    }
    if not end.expected:
        facts |= {"message": end.message, "hint": end.hint or None, "prompts": end.prompts}
    return facts
