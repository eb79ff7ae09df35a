"""Requests of tests to an instance."""

import asyncio

from comfysup.supervision.callers import Reply
from comfysup.supervision.instance import Instance
from comfysup.supervision.lifecycle_events import (
    RestartAsked,
    StartAsked,
    StopAsked,
    WaitFor,
    WaitOutcome,
)
from comfysup.supervision.stop_escalation import StopEscalation

GENTLE = StopEscalation(terminate=60.0, kill=70.0, give_up=80.0)
"""SIGINT, and all the time in the world."""
QUICK = StopEscalation(terminate=0.001, kill=0.002, give_up=60.0)
"""All signals at once, and all the time in the world for what they do."""
DONE = Reply(WaitOutcome.DONE)
OVERRIDDEN = Reply(WaitOutcome.OVERRIDDEN, "stopped while starting")


def start(instance: Instance, wait_for: WaitFor = WaitFor.READY) -> asyncio.Future[Reply]:
    return instance.ask(StartAsked(), wait_for)


def restart(instance: Instance, wait_for: WaitFor = WaitFor.READY) -> asyncio.Future[Reply]:
    return instance.ask(RestartAsked(GENTLE), wait_for)


def stop(instance: Instance, escalation: StopEscalation = GENTLE) -> asyncio.Future[Reply]:
    return instance.ask(StopAsked(escalation), WaitFor.STOP)
