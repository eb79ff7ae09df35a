"""Instances as resources: seen, started, stopped, restarted and forgotten by id or name."""

import asyncio
from http import HTTPStatus

from aiohttp import web

from comfysup.supervision.fleet import Outcome, Result
from comfysup.supervision.instance import Instance
from comfysup.supervision.life import Phase
from comfysup.web import texts
from comfysup.web.answers import json_answer
from comfysup.web.calls import Call
from comfysup.web.errors import ApiError, refusal
from comfysup.web.presentation import present, present_all
from comfysup.web.schemas import NoQuery, RestartQuery, StartQuery, StopQuery
from comfysup.web.services import Services
from comfysup.web.views import InstancesView


async def list_instances(services: Services, _call: Call[NoQuery, None]) -> web.Response:
    return json_answer(InstancesView(present_all(services)))


async def get_instance(services: Services, call: Call[NoQuery, None]) -> web.Response:
    return json_answer(present(services.fleet.find(call.ref), services))


async def start_instance(services: Services, call: Call[StartQuery, None]) -> web.Response:
    instance = services.fleet.find(call.ref)
    query = call.query
    result = await services.fleet.start_again(instance, query.wait.asker, query.timeout)
    return _answer(instance, result, services)


async def restart_instance(services: Services, call: Call[RestartQuery, None]) -> web.Response:
    instance = services.fleet.find(call.ref)
    query = call.query
    result = await services.fleet.restart(instance, query.wait.asker, query.patience, query.drain)
    return _answer(instance, result, services)


async def stop_instance(services: Services, call: Call[StopQuery, None]) -> web.Response:
    instance = services.fleet.find(call.ref)
    query = call.query
    result = await services.fleet.stop(instance, query.timeout, drain=query.drain)
    return _answer_stop(instance, result, services)


async def remove_instance(services: Services, call: Call[NoQuery, None]) -> web.Response:
    """Stop and forget; the answer shows the instance as it was at last."""
    instance = services.fleet.find(call.ref)
    # Done to its end also when the caller hangs up: half of it would be neither wish.
    removal = asyncio.ensure_future(services.fleet.remove(instance))
    result = await asyncio.shield(removal)
    return _answer_stop(instance, result, services)


def _answer(instance: Instance, result: Result, services: Services) -> web.Response:
    match result.outcome:
        case Outcome.DONE:
            return json_answer(present(instance, services))
        case Outcome.TIMEOUT:
            return json_answer(present(instance, services), HTTPStatus.ACCEPTED)
        case Outcome.REFUSED:
            raise refusal(result.code, result.message)
        case Outcome.FAILED:
            label = instance.spec.label
            detail = f"cannot start instance {label}: {texts.failure(result)}"
            raise ApiError(500, "start_failed", detail)


def _answer_stop(instance: Instance, result: Result, services: Services) -> web.Response:
    if result.outcome is not Outcome.FAILED:
        return _answer(instance, result, services)
    if instance.life.phase is Phase.STUCK:
        detail = f"cannot stop instance {instance.spec.label}: {result.message}"
        raise ApiError(500, "stop_failed", detail)
    raise ApiError(409, "started_again", result.message)
