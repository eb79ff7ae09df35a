"""A rolling restart: the instances of an environment, one at a time."""

from aiohttp import web

from comfysup.supervision.fleet import Outcome
from comfysup.supervision.instance import Instance
from comfysup.supervision.protocols import RefusedError
from comfysup.web import texts
from comfysup.web.answers import json_answer
from comfysup.web.calls import Call
from comfysup.web.schemas import RestartQuery
from comfysup.web.services import Services
from comfysup.web.views import FailedReloadView, NamedView, RollingRestartView


async def restart_one_by_one(services: Services, call: Call[RestartQuery, None]) -> web.Response:
    """Restart what is wanted, each when the one before is back; stop at the first that is not."""
    await _check(call.ref, services)
    waiting = [each for each in services.fleet if _takes_part(each, call.ref)]
    restarted: list[NamedView] = []
    failed: list[FailedReloadView] = []
    while waiting and not failed:
        instance = waiting.pop(0)
        if not _takes_part(instance, call.ref):
            continue  # somebody stopped it meanwhile
        if failure := await _restart(instance, services, call.query):
            failed.append(failure)
        else:
            restarted.append(_named(instance))
    return json_answer(RollingRestartView(restarted, failed, [_named(each) for each in waiting]))


async def _check(environment: str, services: Services) -> None:
    """Refuse an environment that is neither there nor had by any instance."""
    if any(each.spec.environment == environment for each in services.fleet):
        return
    if environment not in {each.name for each in await services.environments()}:
        raise RefusedError("unknown_environment", f"there is no environment {environment!r}")


def _takes_part(instance: Instance, environment: str) -> bool:
    return instance.spec.environment == environment and instance.life.wanted


async def _restart(
    instance: Instance, services: Services, query: RestartQuery
) -> FailedReloadView | None:
    result = await services.fleet.restart(instance, query.wait.asker, query.patience, query.drain)
    if result.outcome is Outcome.DONE:
        return None
    code = result.code or ("timeout" if result.outcome is Outcome.TIMEOUT else "start_failed")
    spec = instance.spec
    return FailedReloadView(spec.id, spec.name, texts.failure(result), code)


def _named(instance: Instance) -> NamedView:
    return NamedView(instance.spec.id, instance.spec.name)
