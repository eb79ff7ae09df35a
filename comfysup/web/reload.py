"""instances.json, read again and followed."""

import asyncio
from collections.abc import Sequence

from aiohttp import web

from comfysup.supervision.spec import InstanceSpec
from comfysup.web.answers import json_answer
from comfysup.web.calls import Call
from comfysup.web.errors import InvalidRequestError, Mistake
from comfysup.web.schemas import NoQuery
from comfysup.web.services import Reloaded, Services
from comfysup.web.views import FailedReloadView, FileMistakeView, NamedView, ReloadView


async def reload(services: Services, _call: Call[NoQuery, None]) -> web.Response:
    """Answer what was done; 422 for a file of which nothing could be used, which changes nothing.

    Mistakes of single instances are a 200: what is right has been done.
    """
    # Done to its end also when the caller hangs up: half of it would follow neither file.
    work = asyncio.ensure_future(services.reload())
    outcome = await asyncio.shield(work)
    if not outcome.legible:
        raise InvalidRequestError(
            [
                Mistake(("instances.json", each.line, each.column), each.summary, "instances_file")
                for each in outcome.mistakes
            ]
        )
    return json_answer(present_reload(outcome))


def present_reload(outcome: Reloaded) -> ReloadView:
    return ReloadView(
        started=_named(outcome.started),
        stopped=_named(outcome.stopped),
        restarted=_named(outcome.restarted),
        updated=_named(outcome.updated),
        left_alone=_named(outcome.left_alone),
        failed=[
            FailedReloadView(each.spec.id, each.spec.name, each.message, each.code)
            for each in outcome.failed
        ],
        mistakes=[
            FileMistakeView(each.place, each.line, each.column, each.text)
            for each in outcome.mistakes
        ],
        warnings=outcome.warnings,
    )


def _named(specs: Sequence[InstanceSpec]) -> list[NamedView]:
    return [NamedView(spec.id, spec.name) for spec in specs]
