"""Ending everything, in a time that can be relied on."""

import asyncio

from aiohttp import web

from comfysup.supervision.fleet import Outcome
from comfysup.supervision.life import KILL_PATIENCE, Ladder
from comfysup.web import texts
from comfysup.web.answers import json_answer
from comfysup.web.calls import Call
from comfysup.web.errors import ApiError
from comfysup.web.schemas import NoQuery
from comfysup.web.services import Services
from comfysup.web.views import StopAllView

ANSWER_WITHIN = 24.0
"""Seconds in which each instance has ended or is known to be stuck."""

_GIVE_UP = ANSWER_WITHIN - KILL_PATIENCE  # so that what a process leaves can still be swept

LONGEST = Ladder(terminate=10.0, kill=_GIVE_UP - KILL_PATIENCE, give_up=_GIVE_UP)
"""The default grace up to SIGTERM in full; a longer one is shortened to this."""

PATIENCE = 24.4
"""Seconds after which the answer goes out although some instance has not even been judged."""


async def stop_all(services: Services, _call: Call[NoQuery, None]) -> web.Response:
    try:
        results = await asyncio.wait_for(services.fleet.stop_all(LONGEST), PATIENCE)
    except TimeoutError:
        detail = f"cannot stop all instances: not done after {PATIENCE:g} s; it goes on"
        raise ApiError(500, "stop_failed", detail) from None
    failed = [result for result in results if result.outcome is not Outcome.DONE]
    if failed:
        detail = f"cannot stop all instances:\n{texts.stopped(failed)}".rstrip()
        raise ApiError(500, "stop_failed", detail)
    return json_answer(StopAllView("success", "All instances stopped", texts.stopped(results)))
