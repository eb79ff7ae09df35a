"""Transitions for the requests of callers; each function lists every state."""

from dataclasses import replace

from comfysup.supervision.life import (
    Aborting,
    Backoff,
    Draining,
    Failed,
    Launching,
    Life,
    Moment,
    Running,
    StartAgain,
    Starting,
    StayStopped,
    Stopped,
    Stopping,
    Stuck,
    Sweeping,
)
from comfysup.supervision.lifecycle_events import (
    CallOffLaunch,
    Emit,
    LifecycleEvent,
    Resolve,
    RestartAsked,
    StartAsked,
    StopAsked,
    WaitFor,
    WaitOutcome,
)
from comfysup.supervision.restart_policy import forgiven
from comfysup.supervision.stop_escalation import cannot_kill
from comfysup.supervision.transitions import (
    STARTERS,
    Step,
    at_rest,
    drain,
    end_run,
    followed_by_start,
    launch,
)

STOPPED_WHILE_STARTING = "stopped while starting"
"""What a caller hears whose start a later stop has overridden."""


def asked(life: Life, event: StartAsked | RestartAsked | StopAsked, now: Moment) -> Step:
    match event:
        case StartAsked():
            return _start_asked(life)
        case RestartAsked():
            return _restart_asked(life, event, now)
        case StopAsked():
            return _stop_asked(life, event, now)


def _start_asked(life: Life) -> Step:
    match life.state:
        case Stopped() | Backoff() | Failed():
            return launch(forgiven(life))
        case Launching():
            return life, ()
        case Starting():
            return life, (Resolve((WaitFor.SPAWN,), WaitOutcome.DONE),)
        case Running():
            return life, (Resolve(STARTERS, WaitOutcome.DONE),)
        case Aborting() | Draining() | Stopping() | Sweeping():
            return followed_by_start(life), ()
        case Stuck(remnants=remnants):
            told = Resolve(STARTERS, WaitOutcome.STUCK, cannot_kill(remnants))
            return followed_by_start(life), (told,)


def _restart_asked(life: Life, asked: RestartAsked, now: Moment) -> Step:
    match life.state:
        case Running() | Draining() if asked.drain:
            return drain(forgiven(life), asked, StartAgain(), now)
        case Starting(run) | Running(run) | Draining(run):
            return end_run(forgiven(life), run, StartAgain(), asked.escalation, now)
        case (
            Stopped()
            | Launching()
            | Backoff()
            | Failed()
            | Aborting()
            | Stopping()
            | Sweeping()
            | Stuck()
        ):
            return _start_asked(life)


def _stop_asked(life: Life, asked: StopAsked, now: Moment) -> Step:
    escalation = asked.escalation
    overridden = Resolve(STARTERS, WaitOutcome.OVERRIDDEN, STOPPED_WHILE_STARTING)
    stopped = Resolve((WaitFor.STOP,), WaitOutcome.DONE)
    match life.state:
        case Stopped():
            return life, (stopped,)
        case Backoff() | Failed():
            return at_rest(life), (stopped, Emit(LifecycleEvent.STOPPED))
        case Launching():
            aborting = Aborting(StayStopped(), escalation)
            return replace(life, state=aborting), (
                CallOffLaunch(),
                overridden,
                Emit(LifecycleEvent.STOPPING),
            )
        case Running() | Draining() if asked.drain:
            draining, actions = drain(life, asked, StayStopped(), now)
            return draining, (overridden, *actions)
        case Starting(run) | Running(run) | Draining(run):
            ending, actions = end_run(life, run, StayStopped(), escalation, now)
            return ending, (overridden, *actions)
        case Aborting(escalation=earlier):
            aborting = Aborting(StayStopped(), escalation.hurried(earlier))
            return replace(life, state=aborting), (overridden,)
        case Stopping(escalation=earlier) as stopping:
            hurried = escalation.at(now.monotonic).hurried(earlier)
            ending = replace(life, state=replace(stopping, then=StayStopped(), escalation=hurried))
            return ending, (overridden,)
        case Sweeping() as sweeping:
            return replace(life, state=replace(sweeping, then=StayStopped())), (overridden,)
        case Stuck() as stuck:
            told = Resolve((WaitFor.STOP,), WaitOutcome.STUCK, cannot_kill(stuck.remnants))
            return replace(life, state=replace(stuck, then=StayStopped())), (overridden, told)
