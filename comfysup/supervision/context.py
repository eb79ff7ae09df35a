"""What an instance is given to act with, and whom it tells."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from comfysup.model.spec import InstanceSpec
from comfysup.supervision.events import LifecycleEvent
from comfysup.supervision.life import Moment
from comfysup.supervision.protocols import Drainer, Launcher, NothingToDrain, Prober

if TYPE_CHECKING:
    from comfysup.supervision.instance import Instance

Clock: TypeAlias = Callable[[], Moment]
Observer: TypeAlias = "Callable[[Instance, LifecycleEvent], None]"
Touched: TypeAlias = "Callable[[Instance], None]"


@dataclass(frozen=True, slots=True)
class InstanceContext:
    """The means of an instance, and its listeners.

    `lost` says for how many seconds, all together, nothing was looked at: see `Attention`.

    `observer` hears of what the outside should know. `touched` is called at every change of an
    instance, before anything is done that follows from it: what it writes down is never behind.
    `admitted` hears each spec with which somebody starts an instance, once nothing refuses it and
    before the instance has it.
    """

    launcher: Launcher
    prober: Prober
    clock: Clock
    observer: Observer
    touched: Touched
    drainer: Drainer = field(default_factory=NothingToDrain)
    lost: Callable[[], float] = lambda: 0.0
    admitted: Callable[[InstanceSpec], None] = lambda _spec: None
