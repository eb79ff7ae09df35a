"""How tests ask an instance for something."""

import asyncio

from comfysup.supervision.events import Asker, RestartAsked, StartAsked, StopAsked, Verdict
from comfysup.supervision.instance import Instance, Reply
from comfysup.supervision.life import Ladder

GENTLE = Ladder(terminate=60.0, kill=70.0, give_up=80.0)
"""SIGINT, and all the time in the world."""
QUICK = Ladder(terminate=0.001, kill=0.002, give_up=60.0)
"""All signals at once, and all the time in the world for what they do."""
DONE = Reply(Verdict.DONE)
OVERRIDDEN = Reply(Verdict.OVERRIDDEN, "stopped while starting")


def start(instance: Instance, asker: Asker = Asker.READY) -> asyncio.Future[Reply]:
    return instance.ask(StartAsked(), asker)


def restart(instance: Instance, asker: Asker = Asker.READY) -> asyncio.Future[Reply]:
    return instance.ask(RestartAsked(GENTLE), asker)


def stop(instance: Instance, ladder: Ladder = GENTLE) -> asyncio.Future[Reply]:
    return instance.ask(StopAsked(ladder), Asker.STOP)
