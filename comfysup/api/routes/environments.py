"""The environments that instances can be started from, and rolling restarts of their instances."""

from aiohttp import web

from comfysup.api.schemas import NoQuery, RestartQuery
from comfysup.api.server.request import Call
from comfysup.api.server.responses import json_answer
from comfysup.api.services import Services
from comfysup.api.views import text_output as texts
from comfysup.api.views.environments import (
    EnvironmentsView,
    EnvironmentView,
    LinkView,
)
from comfysup.api.views.reload import (
    FailedReloadView,
    NamedView,
    RollingRestartView,
)
from comfysup.model.environment import Survey
from comfysup.model.printable import shortened
from comfysup.supervision.instance import Instance
from comfysup.supervision.life import Phase
from comfysup.supervision.lifecycle_events import StopAsked
from comfysup.supervision.protocols import RefusedError
from comfysup.supervision.results import Outcome


async def list_environments(services: Services, _call: Call[NoQuery, None]) -> web.Response:
    found = await services.environments()
    return json_answer(EnvironmentsView([_environment_view(each) for each in found]))


async def link_models(services: Services, call: Call[NoQuery, None]) -> web.Response:
    """Share the models of an environment, unless an instance of it may be using them."""
    name = call.ref
    if users := [each.spec.label for each in services.fleet if _uses(each, name)]:
        raise RefusedError(
            "environment_in_use",
            f"cannot link the models of {name!r}: stop instance {', '.join(users)} first",
        )
    # Done to its end also when the caller hangs up: it may copy for longer than callers wait.
    found = await services.unhurried.finish(services.link(name))
    return json_answer(
        LinkView(
            environment=name,
            linked=found.linked,
            done=found.done,
            moved=found.moved,
            aside=found.aside,
            left=found.left,
        )
    )


def _uses(instance: Instance, environment: str) -> bool:
    """Return whether the instance runs from the environment, or may start by itself."""
    if environment not in (instance.spec.environment, instance.record.launched.environment):
        return False
    if instance.life.phase in (Phase.STOPPED, Phase.FAILED):
        return instance.asked is not None and not isinstance(instance.asked, StopAsked)
    return True


def _environment_view(facts: Survey) -> EnvironmentView:
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


async def restart_one_by_one(services: Services, call: Call[RestartQuery, None]) -> web.Response:
    """Restart instances one after another. Stop at the first that does not become ready."""
    await _check_environment(call.ref, services)
    waiting = [each for each in services.fleet if _takes_part(each, call.ref)]
    restarted: list[NamedView] = []
    failed: list[FailedReloadView] = []
    while waiting and not failed:
        instance = waiting.pop(0)
        if not _takes_part(instance, call.ref):
            continue  # stopped by another caller
        if failure := await _restart_instance(instance, services, call.query):
            failed.append(failure)
        else:
            restarted.append(_named_view(instance))
    return json_answer(
        RollingRestartView(restarted, failed, [_named_view(each) for each in waiting])
    )


async def _check_environment(environment: str, services: Services) -> None:
    """Refuse an environment that is neither there nor had by any instance."""
    if any(each.spec.environment == environment for each in services.fleet):
        return
    if environment not in {each.name for each in await services.environments()}:
        detail = f"there is no environment '{shortened(environment)}'"
        raise RefusedError("unknown_environment", detail)


def _takes_part(instance: Instance, environment: str) -> bool:
    return instance.spec.environment == environment and instance.life.wanted


async def _restart_instance(
    instance: Instance, services: Services, query: RestartQuery
) -> FailedReloadView | None:
    result = await services.fleet.restart(
        instance, query.wait.wait_for, query.patience, query.drain, query.rescue
    )
    if result.outcome is Outcome.DONE:
        return None
    code = result.code or ("timeout" if result.outcome is Outcome.TIMEOUT else "start_failed")
    spec = instance.spec
    return FailedReloadView(spec.id, spec.name, texts.failure(result), code)


def _named_view(instance: Instance) -> NamedView:
    return NamedView(instance.spec.id, instance.spec.name)
