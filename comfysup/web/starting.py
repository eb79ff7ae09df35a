"""The spec's two ways to start instances: several at once, and a single one."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Literal

from aiohttp import web

from comfysup.fields import Defaults, InstanceFields, SpecError
from comfysup.supervision.fleet import Outcome, Result
from comfysup.supervision.instance import Instance
from comfysup.supervision.protocols import RefusedError
from comfysup.supervision.spec import InstanceSpec
from comfysup.web import texts
from comfysup.web.answers import json_answer
from comfysup.web.calls import Call
from comfysup.web.errors import ApiError, InvalidRequestError, Mistake, refusal
from comfysup.web.presentation import present
from comfysup.web.schemas import StartInstancesBody, StartQuery, StartSingleQuery
from comfysup.web.security import Caller
from comfysup.web.services import Services
from comfysup.web.unknown import unknown_in
from comfysup.web.views import NotStartedView, StartedView, StartInstancesView, StartSingleView

Loc = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Wanted:
    """One instance of a request, and where in the body it stands."""

    loc: Loc
    fields: InstanceFields

    def spec(self, environment: str, defaults: Defaults) -> InstanceSpec:
        """Return its spec, or raise an `InvalidRequestError`."""
        named = {"environment": self.fields.environment or environment}
        try:
            return self.fields.model_copy(update=named).to_spec(defaults)
        except SpecError as error:
            raise InvalidRequestError(
                [Mistake((*self.loc, error.where), str(error), "spec")]
            ) from None


async def start_instances(
    services: Services, call: Call[StartQuery, StartInstancesBody]
) -> web.Response:
    """Ask for all of them at once and wait for all together."""
    body, query = call.body, call.query
    defaults = services.defaults()
    environment = body.environment or defaults.environment
    wanted = [
        Wanted(("body", "instances", place), each)
        for place, each in enumerate(body.instances)
        if each.enabled
    ]
    specs = [each.spec(environment, defaults) for each in wanted]
    _refuse_repetitions(wanted, specs)
    _refuse_foreign_code(wanted, call.caller)
    start = services.fleet.start
    results = await asyncio.gather(
        *(start(spec, query.wait.asker, query.timeout) for spec in specs)
    )
    views = [_view(spec, result, services) for spec, result in zip(specs, results, strict=True)]
    return json_answer(
        StartInstancesView(
            status="completed",
            environment=environment,
            results=views,
            total_instances=len(body.instances),
            started_instances=sum(view.status == "started" for view in views),
            warnings=_warnings(call.written),
        )
    )


async def start_single(
    services: Services, call: Call[StartSingleQuery, InstanceFields]
) -> web.Response:
    """Start one; whether it says to be enabled is not looked at."""
    query = call.query
    defaults = services.defaults()
    wanted = Wanted(("body",), call.body)
    spec = wanted.spec(query.environment or defaults.environment, defaults)
    _refuse_foreign_code([wanted], call.caller)
    result = await services.fleet.start(spec, query.wait.asker, query.timeout)
    if result.instance is None:
        raise refusal(result.code, result.message)
    match result.outcome:
        case Outcome.DONE:
            message = f"Instance '{spec.name}' started on port {spec.port}"
            return _answer_single(result.instance, services, call.written, "success", message)
        case Outcome.TIMEOUT:
            message = f"Instance '{spec.name}' is {result.message}; it goes on loading"
            return _answer_single(result.instance, services, call.written, "starting", message)
        case Outcome.FAILED | Outcome.REFUSED:
            detail = f"Failed to start instance: {texts.failure(result)}"
            raise ApiError(500, "start_failed", detail)


def _answer_single(
    instance: Instance,
    services: Services,
    written: Mapping[str, object],
    status: Literal["success", "starting"],
    message: str,
) -> web.Response:
    view = StartSingleView(
        status=status,
        message=message,
        output=texts.started(instance),
        instance=present(instance, services),
        warnings=unknown_in([written], InstanceFields),
    )
    return json_answer(view, HTTPStatus.OK if status == "success" else HTTPStatus.ACCEPTED)


def _view(spec: InstanceSpec, result: Result, services: Services) -> StartedView | NotStartedView:
    state, pid = _state_of(spec, services)
    if result.outcome is Outcome.DONE and result.instance:
        output = texts.started(result.instance)
        return StartedView(spec.id, spec.name, spec.port, "started", state, pid, output)
    status, code, error = _reason(result)
    return NotStartedView(spec.id, spec.name, spec.port, status, state, pid, error, code)


def _reason(result: Result) -> tuple[Literal["failed", "timeout", "error"], str, str]:
    """Return the status, a word for programs, and the text for people."""
    match result.outcome:
        case Outcome.TIMEOUT:
            return "timeout", "timeout", f"{result.message}; it goes on loading"
        case Outcome.REFUSED:
            return "error", result.code, result.message
        case Outcome.FAILED | Outcome.DONE:
            code = result.exit.reason if result.exit else "start_failed"
            return "failed", code, texts.failure(result)


def _state_of(spec: InstanceSpec, services: Services) -> tuple[str | None, int | None]:
    """Return state and pid of what the table has under that id, asked for or not."""
    try:
        life = services.fleet.find(str(spec.id)).life
    except RefusedError:
        return None, None
    return life.phase, life.run.pid if life.run else None


def _refuse_repetitions(wanted: Sequence[Wanted], specs: Sequence[InstanceSpec]) -> None:
    """Refuse an id, a name or a port that two instances of one request are to have."""
    mistakes = []
    for field in ("id", "name", "port"):
        first: dict[object, InstanceSpec] = {}
        for each, spec in zip(wanted, specs, strict=True):
            value = getattr(spec, field)
            if (owner := first.setdefault(value, spec)) is not spec:
                text = f"{field} {value!r} is that of instance {owner.label} of this request too"
                mistakes.append(Mistake((*each.loc, field), text, "duplicate"))
    if mistakes:
        raise InvalidRequestError(mistakes)


def _refuse_foreign_code(wanted: Iterable[Wanted], caller: Caller) -> None:
    """Refuse environment variables from a stranger: some of them load code."""
    if not caller.proven and any(each.fields.env for each in wanted):
        raise ApiError(
            403, "forbidden", "only a caller with the token, or over the unix socket, may set env"
        )


def _warnings(written: Mapping[str, object]) -> list[str]:
    instances = written.get("instances")
    each = (
        [one for one in instances if isinstance(one, dict)] if isinstance(instances, list) else []
    )
    return [*unknown_in([written], StartInstancesBody), *unknown_in(each, InstanceFields)]
