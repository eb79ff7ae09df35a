"""Query parameters and request bodies."""

from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from comfysup.api.server.limits import MAX_INSTANCES, MAX_LINES, MAX_WAIT
from comfysup.config.instance_fields import EnvironmentName, InstanceFields
from comfysup.model.spec import Rescue
from comfysup.supervision.lifecycle_events import WaitFor


class Wait(StrEnum):
    """The end of the wait for a start: the instance is ready, or its process exists."""

    READY = "ready"
    SPAWN = "spawn"

    @property
    def wait_for(self) -> WaitFor:
        """The same for supervision."""
        return WaitFor.READY if self is Wait.READY else WaitFor.SPAWN


Seconds = Annotated[float, Field(ge=0, le=MAX_WAIT, allow_inf_nan=False)]
WAIT = "waits until the instance is ready, or until its process exists"
SECONDS_TO_WAIT = "waits at most this many seconds; the start continues"


class NoQuery(BaseModel):
    """A route without query parameters."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class StartQuery(NoQuery):
    """How a start waits."""

    wait: Wait = Field(default=Wait.READY, description=WAIT)
    timeout: Seconds = Field(default=50.0, description=SECONDS_TO_WAIT)


class RescueQuery(NoQuery):
    """Which prompts the next process is given."""

    rescue: Rescue | None = Field(
        default=None,
        description="which prompts the next process receives; by default those of the policy",
    )


class StartAgainQuery(StartQuery, RescueQuery):
    """How to wait for the start of a known instance, and which prompts it receives."""


class StartSingleQuery(NoQuery):
    """How to wait for the start of a single instance, and the source of its settings."""

    environment: EnvironmentName = Field(
        default=None, description="the environment, if the body names none"
    )
    wait: Wait = Field(default=Wait.READY, description=WAIT)
    timeout: Seconds = Field(default=25.0, description=SECONDS_TO_WAIT)


class DrainQuery(RescueQuery):
    """How long running work may take to finish before it is ended."""

    drain: Seconds = Field(
        default=0.0, description="seconds to wait for the running prompt; waiting prompts are kept"
    )


class StopQuery(DrainQuery):
    """How a stop waits."""

    timeout: Seconds | None = Field(
        default=None,
        description="waits at most this many seconds; the stop continues. Without it the request "
        "waits until the instance has stopped",
    )


class RestartQuery(DrainQuery):
    """How a restart waits."""

    wait: Wait = Field(default=Wait.READY, description=WAIT)
    timeout: Seconds | None = Field(
        default=None,
        description="waits at most this many seconds, by default 50 + `drain`; the restart "
        "continues",
    )

    @property
    def patience(self) -> float:
        """Seconds to wait."""
        return self.drain + 50.0 if self.timeout is None else self.timeout


class ReloadQuery(NoQuery):
    """Whether a reload is carried out or only planned."""

    dry_run: bool = Field(
        default=False, description="returns the planned actions without performing them"
    )


EVENT_ID_DIGITS = 18
"""How long the id of an event may be."""


class EventsQuery(NoQuery):
    """The position at which a stream of events resumes; `Last-Event-ID` takes precedence."""

    last_event_id: int | None = Field(
        default=None,
        ge=0,
        lt=10**EVENT_ID_DIGITS,
        description="continues after this event; the header `Last-Event-ID` takes precedence",
    )


class LogsQuery(NoQuery):
    """How much of a log is wanted."""

    lines: int = Field(
        default=200, ge=0, le=MAX_LINES, description="number of lines from the end of the log"
    )
    follow: bool | None = Field(
        default=None,
        description="keeps the response open and sends new lines; by default if the request "
        "accepts text/event-stream",
    )


class StartInstancesBody(BaseModel):
    """Several instances to start at once; the environment is for those that name none."""

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    environment: EnvironmentName = Field(
        default=None, description="the environment of instances without one"
    )
    instances: list[InstanceFields] = Field(
        max_length=MAX_INSTANCES,
        description='the instances to start; entries with `"enabled": false` are skipped',
    )
