"""Whether the daemon lives, and whether what it keeps is ready; for probes of containers."""

from http import HTTPStatus

from aiohttp import web

from comfysup.supervision.life import Running
from comfysup.web.answers import json_answer
from comfysup.web.calls import Call
from comfysup.web.schemas import NoQuery
from comfysup.web.services import Services
from comfysup.web.views import LiveView, ReadyView


async def get_livez(_services: Services, _call: Call[NoQuery, None]) -> web.Response:
    return json_answer(LiveView("live"))


async def get_readyz(services: Services, _call: Call[NoQuery, None]) -> web.Response:
    waiting = [
        f"{each.spec.label}: {each.life.phase}"
        for each in services.fleet
        if each.life.wanted and not isinstance(each.life.state, Running)
    ]
    troubles = services.troubles()
    if waiting:
        view = ReadyView("not_ready", waiting, troubles)
        return json_answer(view, HTTPStatus.SERVICE_UNAVAILABLE)
    return json_answer(ReadyView("ready", waiting, troubles))
