"""Who asks something of an instance, and waits for the answer."""

import asyncio
from dataclasses import dataclass
from typing import TypeAlias

from comfysup.supervision.events import RestartAsked, StartAsked, StopAsked, WaitFor, WaitOutcome
from comfysup.supervision.life import Draining, Exit, Running, Starting, State, Stopping

Request: TypeAlias = StartAsked | RestartAsked | StopAsked


@dataclass(frozen=True, slots=True)
class Reply:
    """What a caller of an instance hears when the wait is over."""

    verdict: WaitOutcome
    message: str = ""
    exit: Exit | None = None


@dataclass(frozen=True, slots=True)
class PendingRequest:
    """What a caller asks for, and the future through which the answer goes."""

    event: Request
    wait_for: WaitFor
    reply: asyncio.Future[Reply]


def ends_process(request: Request, state: State) -> bool:
    """Say whether what a caller asks for in that state has to do with an end that is to come.

    So whether a choice of prompts is one among those that the present process leaves.
    """
    match state:
        case Draining() | Stopping():
            return True
        case Starting() | Running():
            return not isinstance(request, StartAsked)
        case _:
            return False


class Callers:
    """Those who wait for one instance."""

    def __init__(self) -> None:
        """Begin with none."""
        self._waiting: list[PendingRequest] = []

    def add(self, wish: PendingRequest) -> None:
        """Let a caller wait from now on."""
        self._waiting.append(wish)

    def answer(self, waits: tuple[WaitFor, ...], reply: Reply) -> None:
        """Answer all that wait for one of `waits`; the others wait on."""
        waiting, self._waiting = self._waiting, []
        for wish in waiting:
            if wish.wait_for not in waits:
                self._waiting.append(wish)
            elif not wish.reply.done():
                wish.reply.set_result(reply)
