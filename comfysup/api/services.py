"""The interfaces that the routes receive. Their data types are those of `comfysup.model`."""

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from comfysup.api.stream_limit import StreamLimit
from comfysup.config.instance_fields import Defaults
from comfysup.model.environment import LinkReport, Survey
from comfysup.model.instances_file import ReloadOutcome
from comfysup.model.observed import LineBatch, QueueFacts, Usage
from comfysup.model.spec import InstanceSpec
from comfysup.supervision.fleet import Fleet
from comfysup.supervision.instance import Instance
from comfysup.supervision.journal import Journal
from comfysup.supervision.life import Moment
from comfysup.supervision.protocols import Clock
from comfysup.supervision.tasks import Owner

MAX_AGE = 0.25
"""Seconds for which a response with changing values (uptime, usage, health) is reused."""


class StatusBoard:
    """Caches the last response until something changes or it is too old."""

    def __init__(self, max_age: float = MAX_AGE) -> None:
        """Keep nothing yet."""
        self._max_age = max_age
        self._body: bytes | None = None
        self._drawn_at = 0.0

    def invalidate(self) -> None:
        """Forget the answer: something that it shows has changed."""
        self._body = None

    def body(self, draw: Callable[[], bytes]) -> bytes:
        """Return the response, rendered again if needed."""
        now = time.monotonic()
        if self._body is None or now - self._drawn_at > self._max_age:
            self._body = draw()
            self._drawn_at = now
        return self._body


class Logs(Protocol):
    """Reads logs. Each method gives text that is harmless; entering raises OSError."""

    def history(
        self, log_file: Path, lines: int
    ) -> AbstractAsyncContextManager[AsyncIterator[str]]:
        """The last lines."""

    def follow(self, log_file: Path, lines: int) -> AbstractAsyncContextManager[AsyncIterator[str]]:
        """The last lines and all that comes, with the carriage returns of progress bars."""

    def news(
        self, log_file: Path, lines: int, after: str
    ) -> AbstractAsyncContextManager[AsyncIterator[LineBatch]]:
        """Return the same as whole lines, starting after the position `after` if it is valid."""


@dataclass(frozen=True, slots=True)
class DaemonFacts:
    """Facts about the daemon. `settings` is JSON without secrets."""

    version: str
    pid: int
    started: Moment
    settings: Mapping[str, object]
    process_handles: str


@dataclass(frozen=True, slots=True)
class Services:
    """Everything that the routes work with.

    `usage` and `queue` answer at once, with what was last seen; None where nothing was.
    `restart` raises `RefusedError` where the next program could not take over.
    `troubles` say what the daemon cannot do at present, `shortfall` which enabled entries of
    instances.json are not in the table.
    `guarded` says of an environment and the arguments of a caller that has proved nothing why such
    a caller may not pass them; None where it may.
    `environments` may block on a disk, so it is awaited; `link` shares the models of one, for as
    long as copying takes, and raises `RefusedError` where there is none of that name.
    `stream_limit` bounds the readers of the `journal`, `follower_limit` those that follow logs,
    `log_reader_limit` those that read what is in them.
    `autolaunch_pending` are the entries of instances.json that are still to be started, one after
    another; `pass_over` enters one of them, by id or name, as a stopped instance instead, returns
    None where there is none, and raises `RefusedError` as a start does.
    `read_file` returns the content of a file of the program; it raises OSError.
    `unhurried` owns what is done to its end also when the caller hangs up.
    """

    fleet: Fleet
    status_board: StatusBoard
    clock: Clock
    defaults: Callable[[], Defaults]
    guarded: Callable[[str, Sequence[str]], Awaitable[str | None]]
    environments: Callable[[], Awaitable[Sequence[Survey]]]
    link: Callable[[str], Awaitable[LinkReport]]
    restart: Callable[[], Awaitable[None]]
    daemon: Callable[[], DaemonFacts]
    troubles: Callable[[], Sequence[str]]
    shortfall: Callable[[], Sequence[str]]
    log_file: Callable[[int], Path]
    url: Callable[[InstanceSpec], str]
    usage: Callable[[Instance], Usage | None]
    queue: Callable[[Instance], QueueFacts | None]
    journal: Journal
    stream_limit: StreamLimit
    reload: Callable[[], Awaitable[ReloadOutcome]]
    plan_reload: Callable[[], Awaitable[ReloadOutcome]]
    logs: Logs
    follower_limit: StreamLimit
    log_reader_limit: StreamLimit
    autolaunch_pending: Callable[[], Sequence[InstanceSpec]]
    pass_over: Callable[[str], Instance | None]
    read_file: Callable[[Path], Awaitable[bytes]]
    unhurried: Owner = field(default_factory=Owner)
