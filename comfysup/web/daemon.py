"""The daemon itself."""

from aiohttp import web

from comfysup.web.answers import json_answer
from comfysup.web.calls import Call
from comfysup.web.presentation import timestamp
from comfysup.web.schemas import NoQuery
from comfysup.web.services import Services
from comfysup.web.views import DaemonView, RestartingView


async def restart_daemon(services: Services, _call: Call[NoQuery, None]) -> web.Response:
    """Answer first: the answer is the last one of this program."""
    services.restart()
    return json_answer(RestartingView("restarting", "the daemon starts anew in place"), 202)


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
