"""The daemon: its facts, its restart in place, and the probes of containers."""

from http import HTTPStatus

from aiohttp import web

from comfysup.api.schemas import NoQuery
from comfysup.api.server.request import Call
from comfysup.api.server.responses import json_answer
from comfysup.api.services import Services
from comfysup.api.views.resources import DaemonView, LiveView, ReadyView, RestartingView
from comfysup.api.views.serializers import timestamp
from comfysup.supervision.life import Running


async def restart_daemon(services: Services, _call: Call[NoQuery, None]) -> web.Response:
    """Answer first: the answer is the last one of this program."""
    await services.restart()
    return json_answer(RestartingView("restarting", "the daemon is restarting in place"), 202)


async def get_daemon(services: Services, _call: Call[NoQuery, None]) -> web.Response:
    facts = services.daemon()
    uptime = services.clock().monotonic - facts.started.monotonic
    return json_answer(
        DaemonView(
            version=facts.version,
            pid=facts.pid,
            started_at=timestamp(facts.started.wall),
            uptime_seconds=round(uptime, 3),
            troubles=services.troubles(),
            settings=facts.settings,
        )
    )


async def get_livez(_services: Services, _call: Call[NoQuery, None]) -> web.Response:
    return json_answer(LiveView("live"))


async def get_readyz(services: Services, _call: Call[NoQuery, None]) -> web.Response:
    waiting = [
        f"{each.spec.label}: {each.life.phase}"
        for each in services.fleet
        if each.life.wanted and not isinstance(each.life.state, Running)
    ]
    waiting += services.shortfall()
    troubles = services.troubles()
    if waiting:
        view = ReadyView("not_ready", waiting, troubles)
        return json_answer(view, HTTPStatus.SERVICE_UNAVAILABLE)
    return json_answer(ReadyView("ready", waiting, troubles))
