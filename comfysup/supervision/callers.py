"""Callers that wait for the outcome of a request to an instance."""

import asyncio
from dataclasses import dataclass
from typing import TypeAlias

from comfysup.supervision.life import Draining, Exit, Running, Starting, State, Stopping
from comfysup.supervision.lifecycle_events import (
    RestartAsked,
    StartAsked,
    StopAsked,
    WaitFor,
    WaitOutcome,
)

Request: TypeAlias = StartAsked | RestartAsked | StopAsked


@dataclass(frozen=True, slots=True)
class Reply:
    """The outcome of a caller's request."""

    verdict: WaitOutcome
    message: str = ""
    exit: Exit | None = None


@dataclass(frozen=True, slots=True)
class PendingRequest:
    """A caller's request, and the future that receives the reply."""

    event: Request
    wait_for: WaitFor
    reply: asyncio.Future[Reply]


def ends_process(request: Request, state: State) -> bool:
    """Return whether a request in this state concerns an exit that is still to come.

    If so, the request's choice of prompts includes those that the present process leaves.
    """
    match state:
        case Draining() | Stopping():
            return True
        case Starting() | Running():
            return not isinstance(request, StartAsked)
        case _:
            return False


class Callers:
    """The callers that wait for one instance."""

    def __init__(self) -> None:
        """Start without callers."""
        self._waiting: list[PendingRequest] = []

    def add(self, wish: PendingRequest) -> None:
        """Add a caller."""
        self._waiting.append(wish)

    def answer(self, waits: tuple[WaitFor, ...], reply: Reply) -> None:
        """Reply to the callers that wait for one of `waits`; the others keep waiting."""
        waiting, self._waiting = self._waiting, []
        for wish in waiting:
            if wish.wait_for not in waits:
                self._waiting.append(wish)
            elif not wish.reply.done():
                wish.reply.set_result(reply)
