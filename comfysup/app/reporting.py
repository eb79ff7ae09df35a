"""Where the daemon says what happens: events, `troubles`, and the answer of `status`."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version

from comfysup.api.event_publisher import EventPublisher
from comfysup.api.services import DaemonFacts, StatusBoard
from comfysup.api.views.resources import InstanceView
from comfysup.app.autolaunch import Shortfall
from comfysup.config.settings import Settings
from comfysup.linux.conditions import Conditions
from comfysup.supervision.instance import Instance
from comfysup.supervision.journal import Journal
from comfysup.supervision.life import Moment


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
    facts = DaemonFacts(version("comfysup"), os.getpid(), now(), settings.shown())

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
