"""The environments that instances can be started from."""

import asyncio

from aiohttp import web

from comfysup.supervision.events import StopAsked
from comfysup.supervision.instance import Instance
from comfysup.supervision.life import Phase
from comfysup.supervision.protocols import RefusedError
from comfysup.web.answers import json_answer
from comfysup.web.calls import Call
from comfysup.web.schemas import NoQuery
from comfysup.web.services import EnvironmentFacts, Services
from comfysup.web.views import EnvironmentsView, EnvironmentView, LeftView, LinkView


async def list_environments(services: Services, _call: Call[NoQuery, None]) -> web.Response:
    found = await services.environments()
    return json_answer(EnvironmentsView([_present(each) for each in found]))


async def link_models(services: Services, call: Call[NoQuery, None]) -> web.Response:
    """Share the models of an environment, unless an instance of it may be using them."""
    name = call.ref
    if users := [each.spec.label for each in services.fleet if _uses(each, name)]:
        raise RefusedError(
            "environment_in_use",
            f"cannot link the models of {name!r}: instance {', '.join(users)} must be stopped",
        )
    # Done to its end also when the caller hangs up: it may copy for longer than callers wait.
    work = asyncio.ensure_future(services.link(name))
    found = await asyncio.shield(work)
    return json_answer(
        LinkView(
            environment=name,
            linked=found.linked,
            done=found.done,
            moved=found.moved,
            aside=found.aside,
            left=[LeftView(each.path, each.reason) for each in found.left],
        )
    )


def _uses(instance: Instance, environment: str) -> bool:
    """Say whether a process of it runs from that environment, or may by itself begin to."""
    if environment not in (instance.spec.environment, instance.record.launched.environment):
        return False
    if instance.life.phase in (Phase.STOPPED, Phase.FAILED):
        return instance.asked is not None and not isinstance(instance.asked, StopAsked)
    return True


def _present(facts: EnvironmentFacts) -> EnvironmentView:
    return EnvironmentView(
        name=facts.name,
        path=str(facts.path),
        usable=facts.usable,
        problems=facts.problems,
        notes=facts.notes,
        comfyui_version=facts.comfyui_version,
        python_version=facts.python_version,
        torch_version=facts.torch_version,
        custom_nodes=facts.custom_nodes,
        models_link=facts.models_link,
    )
