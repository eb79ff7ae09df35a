"""The transitions of an instance: `step` returns a decision and has no side effects.

Each event has one function, which lists every state in the order of a life. `caller_requests`
handles the requests of callers. `transitions` holds the parts that several transitions share. The
table in `docs/explanation/architecture.md` is generated from this module.
"""

from dataclasses import replace

from comfysup.model.spec import Policy
from comfysup.supervision.caller_requests import asked
from comfysup.supervision.life import (
    Aborting,
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
    Starting,
    Stopped,
    Stopping,
    Stuck,
    Sweeping,
)
from comfysup.supervision.lifecycle_events import (
    BecameReady,
    DeadlinePassed,
    Drained,
    Emit,
    Event,
    Exited,
    Launched,
    LaunchFailed,
    LifecycleEvent,
    Resolve,
    RestartAsked,
    Signal,
    StartAsked,
    StopAsked,
    StrikePrompt,
    TimeLost,
    TreeGone,
    Unresponsive,
    WaitFor,
    WaitOutcome,
    Watch,
    WentSilent,
)
from comfysup.supervision.restart_policy import failed_once
from comfysup.supervision.stop_escalation import (
    KILL_PATIENCE,
    StopEscalation,
    StopStage,
    cannot_kill,
)
from comfysup.supervision.transitions import (
    LOOK_FIRST,
    STARTERS,
    Step,
    end_run,
    go_on,
    impossible,
    launch,
    recover,
    sweep,
)


def step(life: Life, event: Event, now: Moment, policy: Policy) -> Step:
    """Return the life after `event`, and the actions to perform."""
    match event:
        case StartAsked() | RestartAsked() | StopAsked():
            return asked(life, event, now)
        case DeadlinePassed(remnants):
            return _deadline_passed(life, now, policy, remnants)
        case TimeLost(seconds):
            return _time_lost(life, seconds, now, policy), ()
        case _ if event.generation != life.generation:
            return life, ()
        case Launched(pid=pid):
            return _launched(life, event, Run(pid, started=now), policy)
        case LaunchFailed(exit=end, chance=chance):
            return _launch_failed(life, event, end, now, policy, chance)
        case BecameReady():
            return _became_ready(life, event, now, policy)
        case WentSilent():
            return _went_silent(life, event, now, policy)
        case Unresponsive():
            return _unresponsive(life, event, now, policy)
        case Drained():
            return _drained(life, event, now)
        case Exited(exit=end):
            return _exited(life, event, end, now, policy)
        case TreeGone(chance=chance):
            return _tree_gone(life, event, now, policy, chance)


# ---- deadlines


def _deadline_passed(life: Life, now: Moment, policy: Policy, remnants: tuple[str, ...]) -> Step:
    match life.state:
        case Starting(run):
            message = f"not ready within {policy.startup_timeout:g} s"
            then = Recover(was_stable=False, verdict=("startup_timeout", message))
            return end_run(life, run, then, StopEscalation.of(policy.stop_grace), now)
        case Running() as running:
            stable = replace(running, stable_at=None)
            return replace(life, state=stable, failures=0, backoffs=0), ()
        case Draining(run, escalation=escalation, then=then):
            ending, actions = end_run(life, run, then, escalation, now)
            return ending, (StrikePrompt(), *actions)
        case Stopping(escalation=escalation, stop_stage=StopStage.INTERRUPTED):
            return _escalate(life, life.state, StopStage.TERMINATED, escalation.terminate, now)
        case Stopping(escalation=escalation, stop_stage=StopStage.TERMINATED):
            return _escalate(life, life.state, StopStage.KILLED, escalation.kill, now)
        case Stopping(run, then=then) | Sweeping(run, then=then) as ending:
            stuck = Stuck(run, then, remnants, ended=isinstance(ending, Sweeping))
            told = Resolve(tuple(WaitFor), WaitOutcome.STUCK, cannot_kill(remnants))
            return replace(life, state=stuck), (told, Emit(LifecycleEvent.STUCK))
        case Backoff():
            return launch(replace(life, restarts=life.restarts + 1))
        case Stopped() | Launching() | Aborting() | Failed() | Stuck():
            return impossible(life, DeadlinePassed())


def _escalate(life: Life, state: Stopping, stage: StopStage, due: float, now: Moment) -> Step:
    """Send the signal of a stage that was due at `due`; a delay postpones the later stages."""
    later = state.escalation.later(max(0.0, now.monotonic - due))
    stopping = replace(state, escalation=later, stop_stage=stage)
    return replace(life, state=stopping), (Signal(stage.signal),)


def _time_lost(life: Life, seconds: float, now: Moment, policy: Policy) -> Life:
    """Extend the deadlines by a gap in which the daemon did not run.

    A back-off is a plain wait, so it ends at its original time.
    """
    match life.state:
        case Starting(deadline=deadline) as starting:
            looked_at = now.monotonic + min(LOOK_FIRST, policy.startup_timeout)
            moved = replace(starting, deadline=max(deadline + seconds, looked_at))
            return replace(life, state=moved)
        case Running(stable_at=float(stable_at)) as running:
            return replace(life, state=replace(running, stable_at=stable_at + seconds))
        case Draining(deadline=deadline) as draining:
            return replace(life, state=replace(draining, deadline=deadline + seconds))
        case Stopping(escalation=escalation) as stopping:
            return replace(life, state=replace(stopping, escalation=escalation.later(seconds)))
        case Sweeping() as sweeping:
            fresh = replace(sweeping, deadline=now.monotonic + KILL_PATIENCE)
            return replace(life, state=fresh)
        case Stopped() | Launching() | Aborting() | Running() | Backoff() | Failed() | Stuck():
            return life


# ---- process reports


def _launched(life: Life, event: Launched, run: Run, policy: Policy) -> Step:
    match life.state:
        case Launching():
            starting = Starting(run, deadline=run.started.monotonic + policy.startup_timeout)
            spawned = Resolve((WaitFor.SPAWN,), WaitOutcome.DONE)
            return replace(life, state=starting), (Watch(), spawned, Emit(LifecycleEvent.STARTING))
        case Aborting(then, escalation):
            return end_run(life, run, then, escalation, run.started)
        case (
            Stopped()
            | Starting()
            | Running()
            | Draining()
            | Stopping()
            | Sweeping()
            | Backoff()
            | Failed()
            | Stuck()
        ):
            return impossible(life, event)


def _launch_failed(
    life: Life, event: LaunchFailed, end: Exit, now: Moment, policy: Policy, chance: float
) -> Step:
    match life.state:
        case Launching():
            failures = life.failures + (0 if event.transient else 1)
            failed = replace(life, last_exit=end, failures=failures)
            told = Resolve(STARTERS, WaitOutcome.FAILED, end.message, end)
            recovered, actions = recover(failed, Recover(was_stable=False), now, policy, chance)
            return recovered, (told, Emit(LifecycleEvent.EXITED), *actions)
        case Aborting(then):
            return go_on(life, then, now, policy, chance)
        case (
            Stopped()
            | Starting()
            | Running()
            | Draining()
            | Stopping()
            | Sweeping()
            | Backoff()
            | Failed()
            | Stuck()
        ):
            return impossible(life, event)


def _became_ready(life: Life, event: BecameReady, now: Moment, policy: Policy) -> Step:
    match life.state:
        case Starting(run):
            running = Running(replace(run, ready=now), now.monotonic + policy.stable_after)
            told = Resolve(STARTERS, WaitOutcome.DONE)
            return replace(life, state=running), (told, Emit(LifecycleEvent.READY))
        case Running() | Draining() | Stopping() | Sweeping() | Stuck():
            return life, ()
        case Stopped() | Launching() | Aborting() | Backoff() | Failed():
            return impossible(life, event)


def _went_silent(life: Life, event: WentSilent, now: Moment, policy: Policy) -> Step:
    match life.state:
        case Running(run):
            deadline = now.monotonic + policy.startup_timeout
            starting = Starting(replace(run, ready=None, reloaded=now), deadline)
            return replace(life, state=starting), (Emit(LifecycleEvent.STARTING),)
        case Draining(run, escalation=escalation, then=then):
            return end_run(life, run, then, escalation, now)
        case Starting() | Stopping() | Sweeping() | Stuck():
            return life, ()
        case Stopped() | Launching() | Aborting() | Backoff() | Failed():
            return impossible(life, event)


def _unresponsive(life: Life, event: Unresponsive, now: Moment, policy: Policy) -> Step:
    match life.state:
        case Running(run, stable_at):
            then = Recover(stable_at is None, verdict=(event.reason, event.message))
            ending, actions = end_run(life, run, then, StopEscalation.of(policy.stop_grace), now)
            return ending, (Emit(LifecycleEvent.UNRESPONSIVE), *actions)
        case Draining(run, escalation=escalation, then=then):
            ending, actions = end_run(life, run, then, escalation, now)
            return ending, (Emit(LifecycleEvent.UNRESPONSIVE), *actions)
        case Starting() | Stopping() | Sweeping() | Stuck():
            return life, ()
        case Stopped() | Launching() | Aborting() | Backoff() | Failed():
            return impossible(life, event)


def _exited(life: Life, event: Exited, end: Exit, now: Moment, policy: Policy) -> Step:
    match life.state:
        case Starting(run) | Running(run) if end.reboot:
            return sweep(replace(life, last_exit=end), run, StartAgain(), now)
        case Draining(run, then=then):
            return sweep(replace(life, last_exit=end), run, then, now)
        case Starting(run):
            failed = failed_once(life, end, policy, event.blame)
            return sweep(failed, run, Recover(was_stable=False), now)
        case Running(run, stable_at):
            failed = failed_once(life, end, policy, event.blame)
            return sweep(failed, run, Recover(stable_at is None), now)
        case Stopping(run, then=Recover(verdict=(reason, message)) as then) | Stuck(
            run, then=Recover(verdict=(reason, message)) as then
        ):
            # The diagnosis explains a signal that comfysup itself sent, so its hint is dropped.
            judged = replace(end, reason=reason, message=message, hint="")
            failed = failed_once(life, judged, policy, event.blame)
            return sweep(failed, run, then, now)
        case Stuck(run, GiveUp() as then):
            return sweep(life, run, then, now)
        case Stopping(run, then=then) | Stuck(run, then):
            # The diagnosis explains the exit as unrequested, so its hint is dropped.
            asked = replace(
                end, expected=True, reason="stopped", message="it was asked to stop", hint=""
            )
            return sweep(replace(life, last_exit=asked), run, then, now)
        case Stopped() | Launching() | Aborting() | Sweeping() | Backoff() | Failed():
            return impossible(life, event)


def _drained(life: Life, event: Drained, now: Moment) -> Step:
    match life.state:
        case Draining(run, escalation=escalation, then=then):
            return end_run(life, run, then, escalation, now)
        case Stopping() | Sweeping() | Stuck():
            return life, ()
        case Stopped() | Launching() | Aborting() | Starting() | Running() | Backoff() | Failed():
            return impossible(life, event)


def _tree_gone(life: Life, event: TreeGone, now: Moment, policy: Policy, chance: float) -> Step:
    match life.state:
        case Sweeping(then=then) | Stuck(then=then):
            return go_on(life, then, now, policy, chance)
        case (
            Stopped()
            | Launching()
            | Aborting()
            | Starting()
            | Running()
            | Draining()
            | Stopping()
            | Backoff()
            | Failed()
        ):
            return impossible(life, event)
