"""The moves that several transitions share: the life after each, and what is to be done."""

import signal
from dataclasses import replace
from typing import NoReturn, TypeAlias

from comfysup.model.spec import Policy, Restart
from comfysup.supervision.events import (
    Action,
    Blame,
    Drain,
    Emit,
    Event,
    Launch,
    LifecycleEvent,
    Resolve,
    RestartAsked,
    Signal,
    StopAsked,
    Sweep,
    Unwatch,
    WaitFor,
    WaitOutcome,
)
from comfysup.supervision.life import (
    KILL_PATIENCE,
    Aborting,
    AfterExit,
    Backoff,
    Draining,
    Exit,
    Failed,
    GiveUp,
    Launching,
    Life,
    Moment,
    Recover,
    Run,
    Running,
    StartAgain,
    StayStopped,
    StopEscalation,
    Stopped,
    Stopping,
    StopStage,
    Stuck,
    Sweeping,
)

Step: TypeAlias = tuple[Life, tuple[Action, ...]]

STARTERS = (WaitFor.SPAWN, WaitFor.READY)
PERMANENT_FAILURES = 2
"""How many in a row an instance may have when the last one is permanent: one restart is tried, in
case somebody was in the middle of an update."""

BLAMED_RESTARTS = 10
BLAMED_SHARE = 2
"""How many restarts in a row, and how many times `max_failures`, prompts may be blamed for in which
no process finished any: many bad ones in a row are rather the fault of the instance."""
LOOK_FIRST = 15.0
"""Seconds that a process which loads gets, after a time in which nobody looked, to be seen ready:
its first answer alone may take ten."""


class ImpossibleEventError(Exception):
    """An event in a state where it cannot happen: a defect of comfysup, never of its users."""


def cannot_kill(remnants: tuple[str, ...]) -> str:
    """Return the sentence for what SIGKILL did not end."""
    return ": ".join(["SIGKILL did not end it", *([", ".join(remnants)] if remnants else [])])


def launch(life: Life) -> Step:
    """Begin the next generation."""
    return replace(life, state=Launching(), generation=life.generation + 1), (Launch(),)


def drain(
    life: Life, asked: StopAsked | RestartAsked, then: StayStopped | StartAgain, now: Moment
) -> Step:
    """Begin to drain; where that goes on already, what is asked now can only make it shorter."""
    deadline = now.monotonic + asked.drain
    match life.state:
        case Draining(run, deadline=earlier, escalation=escalation):
            draining = Draining(
                run, min(deadline, earlier), asked.escalation.hurried(escalation), then
            )
            return replace(life, state=draining), ()
        case Running(run):
            draining = Draining(run, deadline, asked.escalation, then)
            return replace(life, state=draining), (Drain(), Emit(LifecycleEvent.DRAINING))
        case _:
            return impossible(life, asked)


def end_run(life: Life, run: Run, then: AfterExit, escalation: StopEscalation, now: Moment) -> Step:
    """Begin to end the process, by the hardest signal that is needed."""
    stopping = Stopping(run, escalation.at(now.monotonic), StopStage.INTERRUPTED, then)
    actions = (Unwatch(), Signal(signal.SIGINT), Emit(LifecycleEvent.STOPPING))
    return replace(life, state=stopping), actions


def sweep(life: Life, run: Run, then: AfterExit, now: Moment) -> Step:
    """Begin the sweep; who waited for this process to become ready hears how it ended."""
    sweeping = Sweeping(run, now.monotonic + KILL_PATIENCE, then)
    actions: tuple[Action, ...] = (Unwatch(), Sweep(), Emit(LifecycleEvent.EXITED))
    if isinstance(then, Recover) and (end := life.last_exit) is not None:
        actions = (Resolve(STARTERS, WaitOutcome.FAILED, end.message, end), *actions)
    return replace(life, state=sweeping), actions


def go_on(life: Life, then: AfterExit, now: Moment, policy: Policy, chance: float) -> Step:
    """Do what follows once nothing of the process is left."""
    stopped = Resolve((WaitFor.STOP,), WaitOutcome.DONE)
    match then:
        case StayStopped():
            return at_rest(life), (stopped, Emit(LifecycleEvent.STOPPED))
        case StartAgain():
            launching, actions = launch(life)
            return launching, (stopped, *actions)
        case Recover():
            return recover(life, then, now, policy, chance)
        case GiveUp():
            return replace(life, state=Failed()), (Emit(LifecycleEvent.FAILED),)


def recover(life: Life, then: Recover, now: Moment, policy: Policy, chance: float) -> Step:
    """Decide after a failure: rest, give up, start at once, or wait."""
    clean = life.last_exit is not None and life.last_exit.exit_code == 0 and then.verdict is None
    if clean and policy.restart is not Restart.ALWAYS:
        return at_rest(life), (Emit(LifecycleEvent.STOPPED),)
    if policy.restart is Restart.NEVER or life.failures >= _failures_allowed(life, policy):
        return replace(life, state=Failed()), (Emit(LifecycleEvent.FAILED),)
    if then.was_stable:
        return launch(replace(life, restarts=life.restarts + 1))
    until = now.after(policy.backoff(life.backoffs, chance))
    waiting = replace(life, state=Backoff(until), backoffs=life.backoffs + 1)
    return waiting, (Emit(LifecycleEvent.BACKOFF),)


def _failures_allowed(life: Life, policy: Policy) -> int:
    permanent = life.last_exit is not None and life.last_exit.permanent
    return min(policy.max_failures, PERMANENT_FAILURES) if permanent else policy.max_failures


def forgiven(life: Life) -> Life:
    """Forget the failures: a caller starts it anew."""
    return replace(life, restarts=0, failures=0, backoffs=0)


def failed_once(life: Life, end: Exit, policy: Policy, blame: Blame = Blame.NONE) -> Life:
    """Note a failure; a crash for which a prompt is to blame counts against that prompt alone.

    Not without end: see `BLAMED_RESTARTS`. The back-off grows with each crash of either kind.
    """
    limit = max(BLAMED_RESTARTS, BLAMED_SHARE * policy.max_failures)
    excused = blame is Blame.CERTAIN or (blame is Blame.LIKELY and life.backoffs < limit)
    failures = life.failures + (0 if excused else 1)
    return replace(life, last_exit=replace(end, expected=False), failures=failures)


def at_rest(life: Life) -> Life:
    """Be stopped: counts of restarts and failures are over, the last exit is still the last."""
    return replace(forgiven(life), state=Stopped())


def rebooted(end: Exit) -> Exit:
    return replace(end, expected=True, reason="reboot", message="requested by ComfyUI")


def followed_by_start(life: Life) -> Life:
    """Let what is ending be started again, without a failure."""
    match life.state:
        case Aborting() | Draining() | Stopping() | Sweeping() | Stuck() as ending:
            return replace(forgiven(life), state=replace(ending, then=StartAgain()))
        case _:
            return life


def impossible(life: Life, event: Event) -> NoReturn:
    raise ImpossibleEventError(f"{event} cannot happen in {life.state}")
