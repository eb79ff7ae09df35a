"""Instances as resources: seen, started, stopped, restarted and forgotten by id or name."""

import asyncio
from http import HTTPStatus

from aiohttp import web

from comfysup.api.schemas import NoQuery, RestartQuery, StartAgainQuery, StopQuery
from comfysup.api.server.errors import ApiError
from comfysup.api.server.request import Call
from comfysup.api.server.responses import encode, json_answer, json_bytes_answer
from comfysup.api.services import Services
from comfysup.api.views import text_output as texts
from comfysup.api.views.instances import InstancesView, StatusView, StopAllView
from comfysup.api.views.serializers import present, present_all
from comfysup.supervision.instance import Instance
from comfysup.supervision.life import Phase
from comfysup.supervision.protocols import RefusedError
from comfysup.supervision.results import Outcome, Result
from comfysup.supervision.stop_escalation import KILL_PATIENCE, StopEscalation

STOP_ALL_WITHIN = 24.0
"""Seconds within which `stop_all` has stopped each instance or reports it as stuck."""

_GIVE_UP = STOP_ALL_WITHIN - KILL_PATIENCE  # leaves time for the sweep of descendants

STOP_ALL_ESCALATION = StopEscalation(
    terminate=10.0, kill=_GIVE_UP - KILL_PATIENCE, give_up=_GIVE_UP
)
"""The default grace up to SIGTERM in full; a longer one is shortened to this."""

STOP_ALL_PATIENCE = 24.4
"""Seconds after which `stop_all` answers although some instance has not even been judged."""


async def list_instances(services: Services, _call: Call[NoQuery, None]) -> web.Response:
    return json_answer(InstancesView(present_all(services)))


async def get_instance(services: Services, call: Call[NoQuery, None]) -> web.Response:
    return json_answer(present(services.fleet.find(call.ref), services))


async def start_instance(services: Services, call: Call[StartAgainQuery, None]) -> web.Response:
    instance = services.fleet.find(call.ref)
    query = call.query
    result = await services.fleet.start_again(
        instance, query.wait.wait_for, query.timeout, query.rescue
    )
    return _answer(instance, result, services)


async def restart_instance(services: Services, call: Call[RestartQuery, None]) -> web.Response:
    instance = services.fleet.find(call.ref)
    query = call.query
    result = await services.fleet.restart(
        instance, query.wait.wait_for, query.patience, query.drain, query.rescue
    )
    return _answer(instance, result, services)


async def stop_instance(services: Services, call: Call[StopQuery, None]) -> web.Response:
    instance = _find_or_pass_over(services, call.ref)
    query = call.query
    result = await services.fleet.stop(
        instance, query.timeout, drain=query.drain, rescue=query.rescue
    )
    return _answer_stop(instance, result, services)


async def remove_instance(services: Services, call: Call[NoQuery, None]) -> web.Response:
    """Stop and forget; the answer shows the instance as it was at last."""
    instance = _find_or_pass_over(services, call.ref)
    # Done to its end also when the caller hangs up: half of it would be neither wish.
    result = await services.unhurried.finish(services.fleet.remove(instance))
    return _answer_stop(instance, result, services)


def _find_or_pass_over(services: Services, ref: str) -> Instance:
    """Return the instance to stop, including one that autolaunch has yet to start.

    Raises `RefusedError` if it does not exist.
    """
    try:
        return services.fleet.find(ref)
    except RefusedError:
        if instance := services.pass_over(ref):
            return instance
        raise


def _answer(instance: Instance, result: Result, services: Services) -> web.Response:
    match result.outcome:
        case Outcome.DONE:
            return json_answer(present(instance, services))
        case Outcome.TIMEOUT:
            return json_answer(present(instance, services), HTTPStatus.ACCEPTED)
        case Outcome.REFUSED:
            raise ApiError(result.code, result.message)
        case Outcome.FAILED:
            label = instance.spec.label
            detail = f"cannot start instance {label}: {texts.failure(result)}"
            raise ApiError("start_failed", detail)


def _answer_stop(instance: Instance, result: Result, services: Services) -> web.Response:
    if result.outcome is not Outcome.FAILED:
        return _answer(instance, result, services)
    if instance.life.phase is Phase.STUCK:
        detail = f"cannot stop instance {instance.spec.label}: {result.message}"
        raise ApiError("stop_failed", detail)
    raise ApiError("started_again", result.message)


async def stop_all(services: Services, _call: Call[NoQuery, None]) -> web.Response:
    try:
        async with asyncio.timeout(STOP_ALL_PATIENCE):
            results = await services.fleet.stop_all(STOP_ALL_ESCALATION)
    except TimeoutError:
        detail = (
            f"cannot stop all instances: timed out after {STOP_ALL_PATIENCE:g} s; "
            "stopping continues"
        )
        raise ApiError("stop_failed", detail) from None
    waited_for = {Outcome.DONE, Outcome.TIMEOUT}
    failed = [result for result in results if result.outcome not in waited_for]
    if failed:
        detail = f"cannot stop all instances:\n{texts.stopped(failed)}".rstrip()
        raise ApiError("stop_failed", detail)
    output = texts.stopped(results)
    if any(result.outcome is Outcome.TIMEOUT for result in results):
        view = StopAllView(
            "stopping", "comfysup is restarting in place; stopping continues", output
        )
        return json_answer(view, HTTPStatus.ACCEPTED)
    return json_answer(StopAllView("success", "All instances stopped", output))


async def get_status(services: Services, _call: Call[NoQuery, None]) -> web.Response:
    def draw() -> bytes:
        instances = present_all(services)
        troubles = services.troubles()
        output = texts.status_table(instances, services.clock().wall) + texts.troubles(troubles)
        return encode(StatusView("success", output, instances, troubles))

    return json_bytes_answer(services.status_board.body(draw))
