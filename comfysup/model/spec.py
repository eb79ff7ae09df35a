"""The configuration of an instance: its spec, and its supervision policy."""

from dataclasses import dataclass, field
from enum import StrEnum


class Restart(StrEnum):
    """When an instance that exited unexpectedly is restarted."""

    ALWAYS = "always"
    ON_FAILURE = "on-failure"
    NEVER = "never"


class Rescue(StrEnum):
    """Which prompts of an exited process are submitted to the next one."""

    ALL = "all"
    WAITING = "waiting"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Policy:
    """The timeouts and limits of supervision. All times are seconds."""

    startup_timeout: float = 600.0
    stop_grace: float = 10.0
    backoff_initial: float = 1.0
    backoff_max: float = 60.0
    max_failures: int = 5
    stable_after: float = 60.0
    probe_period: float = 5.0
    probe_timeout: float = 10.0
    probe_failures: int = 12
    restart: Restart = Restart.ALWAYS
    rescue: Rescue = Rescue.ALL


@dataclass(frozen=True, slots=True)
class InstanceSpec:
    """One instance as its callers configured it.

    `name`, `description` and `policy` may change while the instance runs. The other fields form its
    `essence`, which takes effect only with a new process.
    """

    id: int
    name: str
    environment: str
    port: int
    extra_args: tuple[str, ...] = ()
    gpu: str | None = None
    env: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    description: str = ""
    policy: Policy = field(default_factory=Policy)

    @property
    def essence(self) -> tuple[object, ...]:
        """The fields that two specs must share for one process to serve both."""
        return (self.environment, self.port, self.extra_args, self.gpu, self.env)

    @property
    def label(self) -> str:
        """The name of the instance in error messages: `0 'main'`."""
        return f"{self.id} '{self.name}'"
