"""Parts that several transitions share: the next life, and the actions to perform."""

from dataclasses import replace
from typing import NoReturn, TypeAlias

from comfysup.model.spec import Policy, Restart
from comfysup.supervision.life import (
    Aborting,
    AfterExit,
    Backoff,
    Draining,
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
    Stopped,
    Stopping,
    Stuck,
    Sweeping,
)
from comfysup.supervision.lifecycle_events import (
    Action,
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
from comfysup.supervision.restart_policy import failures_allowed, forgiven, restart_delay
from comfysup.supervision.stop_escalation import KILL_PATIENCE, StopEscalation, StopStage

Step: TypeAlias = tuple[Life, tuple[Action, ...]]

STARTERS = (WaitFor.SPAWN, WaitFor.READY)
LOOK_FIRST = 15.0
"""Minimum seconds for a loading process to become ready after a gap: its first answer alone may
take ten."""


class ImpossibleEventError(Exception):
    """An event in a state in which it cannot happen; always an internal error."""


def launch(life: Life) -> Step:
    """Start the next generation."""
    return replace(life, state=Launching(), generation=life.generation + 1), (Launch(),)


def drain(
    life: Life, asked: StopAsked | RestartAsked, then: StayStopped | StartAgain, now: Moment
) -> Step:
    """Start to drain; if a drain is in progress, the request can only shorten it."""
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
    """Stop the process: SIGINT first, then the stages of `escalation`."""
    stopping = Stopping(run, escalation.at(now.monotonic), StopStage.INTERRUPTED, then)
    actions = (Unwatch(), Signal(StopStage.INTERRUPTED.signal), Emit(LifecycleEvent.STOPPING))
    return replace(life, state=stopping), actions


def sweep(life: Life, run: Run, then: AfterExit, now: Moment) -> Step:
    """Start the sweep; callers that wait for a start receive the exit if the process failed."""
    sweeping = Sweeping(run, now.monotonic + KILL_PATIENCE, then)
    actions: tuple[Action, ...] = (Unwatch(), Sweep(), Emit(LifecycleEvent.EXITED))
    if isinstance(then, Recover) and (end := life.last_exit) is not None:
        actions = (Resolve(STARTERS, WaitOutcome.FAILED, end.message, end), *actions)
    return replace(life, state=sweeping), actions


def go_on(life: Life, then: AfterExit, now: Moment, policy: Policy, chance: float) -> Step:
    """Return the transition that `then` requests once no process of the generation is left."""
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
    """Return the transition after a failure: stop, fail, start at once, or back off."""
    clean = life.last_exit is not None and life.last_exit.exit_code == 0 and then.verdict is None
    if clean and policy.restart is not Restart.ALWAYS:
        return at_rest(life), (Emit(LifecycleEvent.STOPPED),)
    if policy.restart is Restart.NEVER or life.failures >= failures_allowed(life, policy):
        return replace(life, state=Failed()), (Emit(LifecycleEvent.FAILED),)
    if then.was_stable:
        return launch(replace(life, restarts=life.restarts + 1))
    until = now.after(restart_delay(policy, life.backoffs, chance))
    waiting = replace(life, state=Backoff(until), backoffs=life.backoffs + 1)
    return waiting, (Emit(LifecycleEvent.BACKOFF),)


def at_rest(life: Life) -> Life:
    """Return the stopped life: the counts are reset, and the last exit is kept."""
    return replace(forgiven(life), state=Stopped())


def followed_by_start(life: Life) -> Life:
    """Request a start, without a failure, after the exit in progress."""
    match life.state:
        case Aborting() | Draining() | Stopping() | Sweeping() | Stuck() as ending:
            return replace(forgiven(life), state=replace(ending, then=StartAgain()))
        case _:
            return life


def impossible(life: Life, event: Event) -> NoReturn:
    raise ImpossibleEventError(f"{event} cannot happen in {life.state}")
