"""Writes events into the journal, each one encoded once for all readers."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from comfysup.api.routes.daemon import present_reload
from comfysup.api.server.responses import encode
from comfysup.api.services import DaemonFacts
from comfysup.api.views.events import (
    DaemonEventView,
    InstanceEventView,
    MissedView,
    PromptEventView,
    ReloadEventView,
)
from comfysup.api.views.instances import InstanceView
from comfysup.api.views.serializers import timestamp
from comfysup.model.instances_file import ReloadOutcome
from comfysup.model.observed import PromptEvent
from comfysup.supervision.instance import Instance
from comfysup.supervision.journal import Journal
from comfysup.supervision.life import Life, Recover, Stopping, Stuck
from comfysup.supervision.lifecycle_events import LifecycleEvent
from comfysup.supervision.protocols import Clock
from comfysup.supervision.stop_escalation import cannot_kill

ENDINGS = (LifecycleEvent.EXITED, LifecycleEvent.BACKOFF, LifecycleEvent.FAILED)
"""The events that report the end of an instance's process."""


@dataclass(frozen=True, slots=True)
class EventPublisher:
    """Publishes events to the journal. `show` returns the current view of an instance."""

    journal: Journal
    clock: Clock
    show: Callable[[Instance], InstanceView]

    def instance(self, instance: Instance, notice: LifecycleEvent) -> None:
        reason, message = _why(instance.life, notice)
        view = InstanceEventView(self._at(), self.show(instance), reason, message)
        self._announce(notice, view)

    def prompt(self, instance: Instance, news: PromptEvent) -> None:
        view = PromptEventView(
            self._at(), self.show(instance), news.prompt_id, news.reason, news.message, news.count
        )
        self._announce(news.name, view)

    def daemon(self, name: str, facts: DaemonFacts) -> None:
        self._announce(f"daemon.{name}", DaemonEventView(self._at(), facts.version, facts.pid))

    def troubles(self, facts: DaemonFacts, sentences: Sequence[str]) -> None:
        """Publish the daemon's current troubles; an empty list reports that they are over."""
        name = "daemon.impaired" if sentences else "daemon.recovered"
        view = DaemonEventView(self._at(), facts.version, facts.pid, sentences)
        self._announce(name, view)

    def reloaded(self, outcome: ReloadOutcome) -> None:
        self._announce("config.reloaded", ReloadEventView(self._at(), present_reload(outcome)))

    def _announce(self, name: str, view: object) -> None:
        data = encode(view)
        self.journal.append(lambda number: frame(name, number, data))

    def _at(self) -> str:
        return timestamp(self.clock().wall)


def frame(name: str, number: int, data: bytes) -> bytes:
    """Return an event in the format of the stream; JSON contains no newline."""
    return b"event: %s\nid: %d\ndata: %s\n\n" % (name.encode(), number, data)


def missed(number: int | None, position: int) -> bytes:
    """Return the event that replaces those that are no longer in the journal."""
    return frame("events.missed", position, encode(MissedView(number)))


def _why(life: Life, notice: LifecycleEvent) -> tuple[str | None, str | None]:
    """Return the reason of an event and its sentence, each None if it has none."""
    match life.state:
        case Stopping(then=Recover(verdict=(reason, message))):
            return reason, message
        case Stuck(remnants=remnants) if notice is LifecycleEvent.STUCK:
            return "stuck", cannot_kill(remnants)
        case _ if notice in ENDINGS and life.last_exit:
            return life.last_exit.reason, life.last_exit.message
        case _:
            return None, None
