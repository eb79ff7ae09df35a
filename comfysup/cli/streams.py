"""Server-sent events that are read on over a restart or a death of the daemon."""

import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from queue import Queue
from threading import Thread
from typing import TypeAlias

import click

from comfysup.cli.client import ApiError, Client, NotReachableError
from comfysup.cli.output import await_reader_leaving, reader_left
from comfysup.cli.times import Seconds

RETRY = 0.2
"""Seconds between attempts to reconnect to the daemon."""

QUIET = 3.0
"""Seconds of absence before a message; a restart in place takes less."""

PATIENCE = 60.0
"""Default seconds after which reconnecting is abandoned."""

reconnect_option = click.option(
    "--reconnect",
    type=Seconds(),
    default=PATIENCE,
    show_default=f"{PATIENCE:g}",
    metavar="SECONDS",
    help="Wait this long for a daemon that has exited.",
)


@dataclass(frozen=True, slots=True)
class Event:
    """One event. `data` holds its lines; `id` is empty if the stream sent none."""

    name: str
    id: str
    data: str


News: TypeAlias = tuple[str, Event | Exception]
"""In which stream an event came, or why no more will come in it."""

WAITING = 1_000
"""Events that wait to be printed."""


def merged(streams: Mapping[str, Iterator[Event]]) -> Iterator[News]:
    """Yield the events of several streams until the reader of standard output has left.

    A stream that raises yields its exception last. Ends when all streams have ended.
    """
    news: Queue[News | None] = Queue(WAITING)

    def read(name: str, events: Iterator[Event]) -> None:
        try:
            for event in events:
                news.put((name, event))
        except Exception as error:  # noqa: BLE001 - the caller decides
            news.put((name, error))
        news.put(None)

    def watch_reader() -> None:
        await_reader_leaving()
        for _ in streams:
            news.put(None)

    for name, events in streams.items():
        Thread(target=read, args=(name, events), daemon=True).start()
    Thread(target=watch_reader, daemon=True).start()
    ended = 0
    while ended < len(streams) and not reader_left(sys.stdout):
        if (item := news.get()) is None:
            ended += 1
        else:
            yield item


def follow(
    client: Client,
    path: str,
    *,
    reconnect: float,
    tells: bool = True,
    **query: object,
) -> Iterator[Event]:
    """Yield events indefinitely, each once, from the position in `query`.

    A stream that ends or breaks is resumed after the last event with an id; `tells` prints a
    message if that takes long. Raises `NotReachableError` if the first connection fails, or if none
    succeeds within `reconnect` seconds later. Raises `ApiError` if the stream is refused.
    """
    after = ""
    absence = Absence(reconnect, tells=tells)
    while True:
        headers = {"Accept": "text/event-stream", **({"Last-Event-ID": after} if after else {})}
        try:
            with client.stream(path, headers, **query) as stream:
                absence.end()
                after = after or stream.headers.get("Last-Event-ID", "")
                for event in read_events(stream):
                    after = event.id or after
                    yield event
        except NotReachableError as error:
            absence.go_on(error)
        except ApiError as error:
            if error.code != "shutting_down":
                raise
            absence.go_on(error)
        else:
            absence.go_on(None)
        time.sleep(RETRY)


class Absence:
    """How long the daemon has been unreachable, and the messages about that."""

    def __init__(self, patience: float, *, tells: bool) -> None:
        self._patience = patience
        self._tells = tells
        self._was_there = False
        self._began: float | None = None
        self._told = False

    def end(self) -> None:
        """Note that a daemon answers."""
        if self._told:
            click.echo("comfysup: the daemon responds again", err=True)
        self._was_there, self._began, self._told = True, None, False

    def go_on(self, error: Exception | None) -> None:
        """Note that none does, for that reason; raises `error` when that is no restart."""
        if error is not None and not self._was_there:
            raise error
        now = time.monotonic()
        self._began = now if self._began is None else self._began
        gone = now - self._began
        if gone >= self._patience:
            raise NotReachableError(
                f"the daemon exited, and no other responded within {self._patience:g} s; "
                f"`--reconnect` waits longer\n  {error or 'it closed the stream'}"
            ) from error
        if gone >= QUIET and self._tells and not self._told:
            self._told = True
            text = f"the daemon exited; waiting up to {self._patience:g} s for the next one"
            click.echo(f"comfysup: {text}", err=True)
            sys.stderr.flush()


def read_events(pieces: Iterable[bytes]) -> Iterator[Event]:
    """Read a stream of server-sent events; comments and retry times are skipped."""
    name, number, data = "", "", list[str]()
    for line in _lines(pieces):
        if not line:
            if data:
                yield Event(name or "message", number, "\n".join(data))
            name, number, data = "", "", []
            continue
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        match field:
            case "event":
                name = value
            case "id":
                number = value
            case "data":
                data.append(value)
            case _:
                pass


def _lines(pieces: Iterable[bytes]) -> Iterator[str]:
    rest = b""
    for piece in pieces:
        *whole, rest = (rest + piece).split(b"\n")
        for line in whole:
            yield line.removesuffix(b"\r").decode(errors="replace")
