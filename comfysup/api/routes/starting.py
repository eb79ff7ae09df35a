"""The spec's two ways to start instances: several at once, and a single one."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Literal

from aiohttp import web

from comfysup.api.schemas import StartInstancesBody, StartQuery, StartSingleQuery
from comfysup.api.server.errors import ApiError, FieldError, InvalidRequestError
from comfysup.api.server.request import MAX_UNKNOWN, Call, unknown_in
from comfysup.api.server.responses import json_answer
from comfysup.api.server.security import Caller
from comfysup.api.services import Services
from comfysup.api.views import text_output as texts
from comfysup.api.views.serializers import present
from comfysup.api.views.starting import (
    NotStartedView,
    StartedView,
    StartInstancesView,
    StartSingleView,
)
from comfysup.config.instance_fields import Defaults, InstanceFields, SpecError
from comfysup.model.printable import printable
from comfysup.model.spec import InstanceSpec
from comfysup.supervision.instance import Instance
from comfysup.supervision.life import Phase
from comfysup.supervision.protocols import RefusedError
from comfysup.supervision.results import Outcome, Result

PROOF = (
    "Such an argument is accepted from a caller with COMFYSUP_TOKEN, over the unix socket "
    "(`comfysup start`), from instances.json and from EXTRA_ARGS"
)
"""The remedy for a refused argument."""

Loc = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Wanted:
    """One instance of a request, and its location in the body."""

    loc: Loc
    fields: InstanceFields

    def spec(
        self, environment: str, defaults: Defaults, present: Mapping[int, InstanceSpec]
    ) -> InstanceSpec:
        """Return its spec, or raise an `InvalidRequestError`.

        Where no name is given, the instance that is `present` under that id keeps its name and
        description.
        """
        named: dict[str, object] = {"environment": self.fields.environment or environment}
        if self.fields.name is None and (before := present.get(self.fields.id)):
            named["name"] = before.name
            if "description" not in self.fields.model_fields_set:
                named["description"] = before.description
        try:
            return self.fields.model_copy(update=named).to_spec(defaults)
        except SpecError as error:
            raise InvalidRequestError(
                [FieldError((*self.loc, error.where), str(error), "spec")]
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
    table = _table(services)
    specs = [each.spec(environment, defaults, table) for each in wanted]
    _refuse_repetitions(wanted, specs)
    await _refuse_foreign_code(services, zip(wanted, specs, strict=True), call.caller)
    start = services.fleet.start
    results = await asyncio.gather(
        *(start(spec, query.wait.wait_for, query.timeout) for spec in specs)
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
    """Start one instance. Its `enabled` field is ignored."""
    query = call.query
    defaults = services.defaults()
    wanted = Wanted(("body",), call.body)
    spec = wanted.spec(query.environment or defaults.environment, defaults, _table(services))
    await _refuse_foreign_code(services, [(wanted, spec)], call.caller)
    result = await services.fleet.start(spec, query.wait.wait_for, query.timeout)
    match result:
        case Result(Outcome.DONE, Instance() as instance):
            message = f"Instance '{spec.name}' started on port {spec.port}"
            return _answer_single(instance, services, call.written, "success", message)
        case Result(Outcome.TIMEOUT, Instance() as instance):
            message = f"Instance '{spec.name}' is {result.message}; it is still loading"
            return _answer_single(instance, services, call.written, "starting", message)
        case Result(Outcome.REFUSED, None):
            raise ApiError(result.code, result.message)
        case _:
            detail = f"Failed to start instance: {texts.failure(result)}"
            raise ApiError("start_failed", detail)


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
            return "timeout", "timeout", f"{result.message}; it is still loading"
        case Outcome.REFUSED:
            return "error", result.code, printable(result.message)
        case Outcome.FAILED | Outcome.DONE:
            code = result.exit.reason if result.exit else "start_failed"
            return "failed", code, texts.failure(result)


def _state_of(spec: InstanceSpec, services: Services) -> tuple[Phase | None, int | None]:
    """Return state and pid of the instance in the table with that id, or None for each."""
    try:
        life = services.fleet.find(str(spec.id)).life
    except RefusedError:
        return None, None
    return life.phase, life.run.pid if life.run else None


def _table(services: Services) -> dict[int, InstanceSpec]:
    return {each.spec.id: each.spec for each in services.fleet}


def _refuse_repetitions(wanted: Sequence[Wanted], specs: Sequence[InstanceSpec]) -> None:
    """Refuse an id, name or port that two instances of one request share."""
    mistakes = []
    for field in ("id", "name", "port"):
        first: dict[object, InstanceSpec] = {}
        for each, spec in zip(wanted, specs, strict=True):
            value = getattr(spec, field)
            if (owner := first.setdefault(value, spec)) is not spec:
                text = f"{field} {value!r} is that of instance {owner.label} of this request too"
                mistakes.append(FieldError((*each.loc, field), text, "duplicate"))
    if mistakes:
        raise InvalidRequestError(mistakes)


async def _refuse_foreign_code(
    services: Services, wanted: Iterable[tuple[Wanted, InstanceSpec]], caller: Caller
) -> None:
    """Refuse fields that can load code (variables, file arguments) from unproven callers."""
    if caller.proven:
        return
    for each, spec in wanted:
        if each.fields.env:
            raise ApiError(
                "forbidden",
                "only a caller with the token, or over the unix socket, may set env",
            )
        if reason := await services.guarded(spec.environment, each.fields.extra_args):
            raise ApiError("forbidden", f"cannot start instance {spec.label}: {reason}. {PROOF}")


def _warnings(written: Mapping[str, object]) -> list[str]:
    """Name the unknown fields, and of several instances the one that has them."""
    instances = written.get("instances")
    each = (
        [one for one in instances if isinstance(one, dict)] if isinstance(instances, list) else []
    )
    found = unknown_in([written], StartInstancesBody)
    if len(each) == 1:
        return [*found, *unknown_in(each, InstanceFields)]
    for one in each:
        if len(found) >= MAX_UNKNOWN:
            break
        found += [f"instance {one['id']}: {text}" for text in unknown_in([one], InstanceFields)]
    return found[:MAX_UNKNOWN]
