"""A life driven event by event through `step`."""

from dataclasses import dataclass, field

from comfysup.model.spec import Policy
from comfysup.supervision.life import REBOOT, Exit, Life, Moment
from comfysup.supervision.lifecycle import step
from comfysup.supervision.lifecycle_events import (
    Action,
    BecameReady,
    Blame,
    DeadlinePassed,
    Event,
    Exited,
    Launched,
    LaunchFailed,
    RestartAsked,
    Signal,
    StartAsked,
    StopAsked,
    TreeGone,
    Unresponsive,
    WentSilent,
)
from comfysup.supervision.stop_escalation import StopEscalation

PID = 4242


@dataclass
class Story:
    """A life, its clock, and all actions so far."""

    policy: Policy = field(default_factory=Policy)
    life: Life = field(default_factory=Life)
    now: Moment = field(default_factory=lambda: Moment(monotonic=1000.0, wall=1_700_000_000.0))
    done: list[Action] = field(default_factory=list)

    def happens(self, event: Event) -> tuple[Action, ...]:
        self.life, actions = step(self.life, event, self.now, self.policy)
        self.done += actions
        return actions

    def wait(self, seconds: float) -> None:
        self.now = self.now.after(seconds)

    def wait_for_deadline(self) -> tuple[Action, ...]:
        assert self.life.deadline is not None, f"{self.life.state} has no deadline"
        self.wait(self.life.deadline - self.now.monotonic)
        return self.happens(DeadlinePassed())

    @property
    def signals(self) -> list[str]:
        return [action.number.name for action in self.done if isinstance(action, Signal)]

    # ---- callers

    def start(self) -> tuple[Action, ...]:
        return self.happens(StartAsked())

    def stop(self, escalation: StopEscalation | None = None) -> tuple[Action, ...]:
        return self.happens(StopAsked(escalation or StopEscalation.of(self.policy.stop_grace)))

    def restart(self) -> tuple[Action, ...]:
        return self.happens(RestartAsked(StopEscalation.of(self.policy.stop_grace)))

    # ---- the process of this generation

    def launched(self) -> tuple[Action, ...]:
        return self.happens(Launched(self.life.generation, PID))

    def cannot_launch(
        self, reason: str = "no_memory", chance: float = 0.0, *, transient: bool = False
    ) -> tuple[Action, ...]:
        end = Exit(self.now.wall, reason, f"cannot start: {reason}")
        return self.happens(LaunchFailed(self.life.generation, end, chance, transient))

    def ready(self) -> tuple[Action, ...]:
        return self.happens(BecameReady(self.life.generation))

    def silent(self) -> tuple[Action, ...]:
        return self.happens(WentSilent(self.life.generation))

    def unresponsive(self) -> tuple[Action, ...]:
        return self.happens(Unresponsive(self.life.generation, "no response to 12 probes in a row"))

    def exits(
        self,
        code: int = 1,
        *,
        reboot: bool = False,
        blame: Blame = Blame.NONE,
        permanent: bool = False,
        hint: str = "",
    ) -> tuple[Action, ...]:
        reason = REBOOT if reboot else "exited"
        end = Exit(
            self.now.wall,
            reason,
            f"exited with code {code}",
            code,
            expected=reboot,
            hint=hint,
            permanent=permanent,
        )
        return self.happens(Exited(self.life.generation, end, blame))

    def swept(self, chance: float = 0.0) -> tuple[Action, ...]:
        return self.happens(TreeGone(self.life.generation, chance))

    # ---- longer ways

    def runs(self, *, stable: bool = False) -> None:
        self.start()
        self.launched()
        self.ready()
        if stable:
            self.wait_for_deadline()

    def crashes(
        self,
        code: int = 1,
        chance: float = 0.0,
        *,
        blame: Blame = Blame.NONE,
        permanent: bool = False,
    ) -> tuple[Action, ...]:
        """Crash and be swept; return the actions afterwards."""
        self.exits(code, blame=blame, permanent=permanent)
        return self.swept(chance)

    def comes_back(self, *, ready: bool) -> None:
        """Be launched again, after a back-off if there is one."""
        if self.life.deadline is not None:
            self.wait_for_deadline()
        self.launched()
        if ready:
            self.ready()

    @property
    def backoff(self) -> float | None:
        """Seconds until the next start."""
        return None if self.life.deadline is None else self.life.deadline - self.now.monotonic


def running(policy: Policy | None = None, *, stable: bool = False) -> Story:
    story = Story(policy or Policy())
    story.runs(stable=stable)
    story.done.clear()
    return story


def starting(policy: Policy | None = None) -> Story:
    story = Story(policy or Policy())
    story.start()
    story.launched()
    story.done.clear()
    return story


def launching(policy: Policy | None = None) -> Story:
    story = Story(policy or Policy())
    story.start()
    story.done.clear()
    return story


def backing_off(policy: Policy | None = None) -> Story:
    story = starting(policy)
    story.crashes()
    story.done.clear()
    return story


def failed() -> Story:
    story = starting(Policy(max_failures=1))
    story.crashes()
    story.done.clear()
    return story


def stuck() -> Story:
    """A stopped instance whose process survives every signal."""
    story = running()
    story.stop()
    for _ in range(3):
        story.wait_for_deadline()
    story.done.clear()
    return story
