"""The daemon itself, and instances.json read again and followed."""

from collections.abc import Sequence
from http import HTTPStatus

from aiohttp import web

from comfysup.api.schemas import NoQuery, ReloadQuery
from comfysup.api.server.errors import FieldError, InvalidRequestError
from comfysup.api.server.request import Call
from comfysup.api.server.responses import json_answer
from comfysup.api.services import Services
from comfysup.api.views.daemon import (
    DaemonView,
    LiveView,
    ReadyView,
    RestartingView,
)
from comfysup.api.views.reload import (
    FailedReloadView,
    NamedView,
    PlannedView,
    ReloadView,
)
from comfysup.api.views.serializers import timestamp
from comfysup.model.instances_file import ReloadOutcome
from comfysup.model.spec import InstanceSpec
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
            autolaunch_pending=[spec.id for spec in services.autolaunch_pending()],
            process_handles=facts.process_handles,
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


async def reload(services: Services, call: Call[ReloadQuery, None]) -> web.Response:
    """Return the result of the reload or of its dry run; 422 if no part of the file is usable.

    A 422 changes nothing. Errors of single instances give 200, because the rest was applied.
    """
    if call.query.dry_run:
        outcome = await services.plan_reload()
    else:
        # Done to its end also when the caller hangs up: half of it would follow neither file.
        outcome = await services.unhurried.finish(services.reload())
    if not outcome.legible:
        raise InvalidRequestError(
            [
                FieldError(
                    ("instances.json", each.line, each.column), each.summary, "instances_file"
                )
                for each in outcome.mistakes
            ]
        )
    return json_answer(present_reload(outcome))


def present_reload(outcome: ReloadOutcome) -> ReloadView:
    return ReloadView(
        dry_run=outcome.dry_run,
        plan=[
            PlannedView(each.spec.id, each.spec.name, each.action, each.reason)
            for each in outcome.plan
        ],
        started=_named(outcome.started),
        stopped=_named(outcome.stopped),
        restarted=_named(outcome.restarted),
        updated=_named(outcome.updated),
        left_alone=_named(outcome.left_alone),
        failed=[
            FailedReloadView(each.spec.id, each.spec.name, each.message, each.code)
            for each in outcome.failed
        ],
        mistakes=outcome.mistakes,
        warnings=outcome.warnings,
    )


def _named(specs: Sequence[InstanceSpec]) -> list[NamedView]:
    return [NamedView(spec.id, spec.name) for spec in specs]
