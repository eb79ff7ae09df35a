"""The simulated surroundings of one life."""

from collections import deque
from dataclasses import dataclass, field
from signal import Signals
from typing import assert_never

from comfysup.supervision.lifecycle_events import (
    Action,
    CallOffLaunch,
    Drain,
    Emit,
    Event,
    Launch,
    Resolve,
    Signal,
    StrikePrompt,
    Sweep,
    Unwatch,
    Watch,
)


@dataclass
class Surroundings:
    """The simulated processes, which report through an inbox."""

    inbox: deque[Event] = field(default_factory=deque)
    launching: bool = False
    called_off: bool = False
    process: bool = False
    descendants: bool = False
    sweeping: bool = False
    watched: bool = False
    seems_ready: bool = False
    draining: bool = False
    signals: list[Signals] = field(default_factory=list)

    @property
    def empty(self) -> bool:
        return not (self.launching or self.process or self.descendants)

    def perform(self, action: Action) -> None:  # noqa: PLR0915 - a case for each action
        """Carry out the actions, and reject forbidden ones."""
        match action:
            case Launch():
                assert self.empty, "two processes"
                self.launching, self.called_off, self.signals = True, False, []
            case CallOffLaunch():
                self.called_off = True
            case Watch():
                assert not self.watched
                self.watched, self.seems_ready = True, False
            case Unwatch():
                self.watched = self.draining = False
            case Drain():
                assert self.watched, "drained without being watched"
                assert not self.draining, "drained twice"
                self.draining = True
            case StrikePrompt():
                assert self.draining, "a strike without a drain"
            case Signal(number):
                self.signals.append(number)
            case Sweep():
                assert not self.process, "swept beside a living process"
                assert not self.sweeping, "swept twice"
                self.sweeping = True
            case Resolve() | Emit():
                pass
            case _:
                assert_never(action)
