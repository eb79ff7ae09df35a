"""Converts domain objects to views."""

from datetime import UTC, datetime

from comfysup.api.services import Services
from comfysup.api.views.instances import (
    ConditionView,
    ExitView,
    HealthView,
    InstanceView,
    PromptView,
    QueueView,
)
from comfysup.model.observed import QueueFacts
from comfysup.supervision.instance import Instance
from comfysup.supervision.life import Backoff, Exit, Moment, Run, Running
from comfysup.supervision.monitor import Health
from comfysup.supervision.protocols import Condition


def present_all(services: Services) -> list[InstanceView]:
    return [present(instance, services) for instance in services.fleet]


def present(instance: Instance, services: Services) -> InstanceView:
    spec, life = instance.spec, instance.life
    run = life.run
    queue = services.queue(instance)
    return InstanceView(
        id=spec.id,
        name=spec.name,
        description=spec.description,
        environment=spec.environment,
        port=spec.port,
        extra_args=spec.extra_args,
        gpu=spec.gpu,
        url=services.url(spec),
        log_file=str(services.log_file(spec.id)),
        state=life.phase,
        ready=isinstance(life.state, Running),
        wanted=life.wanted,
        pid=run.pid if run else None,
        generation=life.generation,
        started_at=timestamp(run.started.wall) if run else None,
        ready_at=timestamp(run.ready.wall) if run and run.ready else None,
        uptime_seconds=_uptime(run, services.clock()),
        startup_seconds=_startup(run),
        restarts=life.restarts,
        consecutive_failures=life.failures,
        next_restart_at=_next_restart(instance),
        last_exit=_exit(life.last_exit) if life.last_exit else None,
        health=_health(instance.health),
        conditions=[_condition(each) for each in instance.conditions],
        queue=_queue(queue) if queue else None,
        usage=services.usage(instance),
    )


def timestamp(wall: float) -> str:
    """Seconds of the wall clock as RFC 3339 in UTC, to the millisecond."""
    text = datetime.fromtimestamp(wall, UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")


def _uptime(run: Run | None, now: Moment) -> float | None:
    return round(now.monotonic - run.started.monotonic, 3) if run else None


def _startup(run: Run | None) -> float | None:
    """Return how long it took to become ready, since it last began to load."""
    if run is None or run.ready is None:
        return None
    began = run.reloaded or run.started
    return round(run.ready.monotonic - began.monotonic, 3)


def _next_restart(instance: Instance) -> str | None:
    match instance.life.state:
        case Backoff(until):
            return timestamp(until.wall)
        case _:
            return None


def _exit(end: Exit) -> ExitView:
    return ExitView(
        at=timestamp(end.at),
        exit_code=end.exit_code,
        signal=end.signal,
        expected=end.expected,
        reason=end.reason,
        message=end.message,
        hint=end.hint or None,
        log_tail=end.log_tail,
        prompts=end.prompts,
    )


def _health(health: Health) -> HealthView:
    return HealthView(
        live=health.live,
        checked_at=None if health.checked_at is None else timestamp(health.checked_at),
        latency_seconds=health.latency_seconds,
        failures=health.failures,
    )


def _condition(condition: Condition) -> ConditionView:
    return ConditionView(condition.code, condition.message, condition.hint or None)


def _queue(queue: QueueFacts) -> QueueView:
    prompts = [PromptView(each.id, timestamp(each.since)) for each in queue.running_prompts]
    return QueueView(running=len(prompts), pending=queue.pending, running_prompts=prompts)
