"""The results of callers' requests."""

import asyncio
from dataclasses import dataclass
from enum import StrEnum

from comfysup.supervision.callers import Reply
from comfysup.supervision.instance import Instance
from comfysup.supervision.life import Exit
from comfysup.supervision.lifecycle_events import WaitOutcome


class Outcome(StrEnum):
    """How a request for one instance ended."""

    DONE = "done"
    FAILED = "failed"
    REFUSED = "refused"
    TIMEOUT = "timeout"


@dataclass(frozen=True, slots=True)
class Result:
    """The result of one request; `instance` is None if none entered the table.

    `message` is a sentence, except for `DONE`. `code` is set for `REFUSED`, and `exit` if a process
    exited.
    """

    outcome: Outcome
    instance: Instance | None
    message: str = ""
    code: str = ""
    exit: Exit | None = None


async def result_of(
    instance: Instance, answer: asyncio.Future[Reply], patience: float | None
) -> Result:
    """Wait for the reply to a request for at most `patience` seconds; None waits without limit."""
    try:
        async with asyncio.timeout(patience):
            reply = await answer
    except TimeoutError:
        phase = instance.life.phase
        return Result(Outcome.TIMEOUT, instance, f"still {phase} after {patience:g} s")
    return _result(instance, reply)


def _result(instance: Instance, reply: Reply) -> Result:
    match reply.verdict:
        case WaitOutcome.DONE:
            return Result(Outcome.DONE, instance)
        case WaitOutcome.DISMISSED:
            return Result(Outcome.TIMEOUT, instance, reply.message)
        case WaitOutcome.FAILED | WaitOutcome.OVERRIDDEN | WaitOutcome.STUCK:
            return Result(Outcome.FAILED, instance, reply.message, exit=reply.exit)
