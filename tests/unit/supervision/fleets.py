"""Fleets of fake processes, and starts in them."""

from dataclasses import replace

from comfysup.model.spec import InstanceSpec
from comfysup.supervision.fleet import Fleet
from comfysup.supervision.instance import Instance
from comfysup.supervision.lifecycle_events import WaitFor
from comfysup.supervision.results import Outcome, Result
from tests.unit.supervision.fakes import (
    spec_of,
)

PATIENCE = 30.0
MAIN = replace(spec_of(0), name="main")
OTHER = replace(spec_of(1), name="other")


async def start(fleet: Fleet, spec: InstanceSpec) -> Result:
    return await fleet.start(spec, WaitFor.READY, PATIENCE)


async def started(fleet: Fleet, spec: InstanceSpec) -> Instance:
    """Start an instance, and return it."""
    result = await start(fleet, spec)
    assert result.outcome is Outcome.DONE, result.message
    assert result.instance is not None
    return result.instance


def refused(code: str, message: str) -> Result:
    return Result(Outcome.REFUSED, None, message, code)
