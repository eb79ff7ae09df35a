"""How an instance lives: `step` decides, and does nothing.

A function per event, and in it every state on purpose; the order of the states is that of a life.
`docs/architecture.md` holds the same as a table, generated from here.
"""

import signal
from dataclasses import replace
from typing import NoReturn, TypeAlias

from comfysup.supervision.events import (
    Action,
    Answer,
    Asker,
    BecameReady,
    CallOffLaunch,
    DeadlinePassed,
    Drain,
    Drained,
    Event,
    Exited,
    Launch,
    Launched,
    LaunchFailed,
    Notice,
    RestartAsked,
    Signal,
    StartAsked,
    StopAsked,
    Sweep,
    Tell,
    TreeGone,
    Unresponsive,
    Unwatch,
    Verdict,
    Watch,
    WentSilent,
)
from comfysup.supervision.life import (
    KILL_PATIENCE,
    Aborting,
    Backoff,
    Draining,
    Exit,
    Failed,
    Ladder,
    Launching,
    Life,
    Moment,
    Recover,
    Renew,
    Rest,
    Run,
    Rung,
    Running,
    Starting,
    Stopped,
    Stopping,
    Stuck,
    Sweeping,
    Then,
)
from comfysup.supervision.spec import Policy, Restart

Step: TypeAlias = tuple[Life, tuple[Action, ...]]

STARTERS = (Asker.SPAWN, Asker.READY)
CANNOT_KILL = "SIGKILL did not end it"


class ImpossibleEventError(Exception):
    """An event in a state where it cannot happen: a defect of comfysup, never of its users."""


def step(life: Life, event: Event, now: Moment, policy: Policy) -> Step:
    """Return the life after `event`, and what must be done for it."""
    match event:
        case StartAsked() | RestartAsked() | StopAsked():
            return _asked(life, event, now)
        case DeadlinePassed():
            return _deadline_passed(life, now, policy)
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
        case Unresponsive(message=message):
            return _unresponsive(life, event, message, now, policy)
        case Drained():
            return _drained(life, event, now)
        case Exited(exit=end, reboot=reboot):
            return _exited(life, event, end, now, reboot=reboot)
        case TreeGone(chance=chance):
            return _tree_gone(life, event, now, policy, chance)


# ---- callers


def _asked(life: Life, event: StartAsked | RestartAsked | StopAsked, now: Moment) -> Step:
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
            return _launch(_forgiven(life))
        case Launching():
            return life, ()
        case Starting():
            return life, (Answer((Asker.SPAWN,), Verdict.DONE),)
        case Running():
            return life, (Answer(STARTERS, Verdict.DONE),)
        case Aborting() | Draining() | Stopping() | Sweeping():
            return _followed_by_start(life), ()
        case Stuck():
            return _followed_by_start(life), (Answer(STARTERS, Verdict.STUCK, CANNOT_KILL),)


def _restart_asked(life: Life, asked: RestartAsked, now: Moment) -> Step:
    match life.state:
        case Running() | Draining() if asked.drain:
            return _drain(_forgiven(life), asked, Renew(), now)
        case Starting(run) | Running(run) | Draining(run):
            return _end(_forgiven(life), run, Renew(), asked.ladder, now)
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
    ladder = asked.ladder
    overridden = Answer(STARTERS, Verdict.OVERRIDDEN, "stopped while starting")
    stopped = Answer((Asker.STOP,), Verdict.DONE)
    match life.state:
        case Stopped():
            return life, (stopped,)
        case Backoff() | Failed():
            return replace(life, state=Stopped()), (stopped, Tell(Notice.STOPPED))
        case Launching():
            aborting = Aborting(Rest(), ladder)
            return replace(life, state=aborting), (
                CallOffLaunch(),
                overridden,
                Tell(Notice.STOPPING),
            )
        case Running() | Draining() if asked.drain:
            draining, actions = _drain(life, asked, Rest(), now)
            return draining, (overridden, *actions)
        case Starting(run) | Running(run) | Draining(run):
            ending, actions = _end(life, run, Rest(), ladder, now)
            return ending, (overridden, *actions)
        case Aborting(ladder=earlier):
            aborting = Aborting(Rest(), ladder.hurried(earlier))
            return replace(life, state=aborting), (overridden,)
        case Stopping(ladder=earlier) as stopping:
            hurried = ladder.at(now.monotonic).hurried(earlier)
            ending = replace(life, state=replace(stopping, then=Rest(), ladder=hurried))
            return ending, (overridden,)
        case Sweeping() as sweeping:
            return replace(life, state=replace(sweeping, then=Rest())), (overridden,)
        case Stuck() as stuck:
            told = Answer((Asker.STOP,), Verdict.STUCK, CANNOT_KILL)
            return replace(life, state=replace(stuck, then=Rest())), (overridden, told)


# ---- the clock


def _deadline_passed(life: Life, now: Moment, policy: Policy) -> Step:
    match life.state:
        case Starting(run):
            message = f"not ready within {policy.startup_timeout:g} s"
            then = Recover(was_stable=False, verdict=("startup_timeout", message))
            return _end(life, run, then, Ladder.of(policy.stop_grace), now)
        case Running() as running:
            stable = replace(running, stable_at=None)
            return replace(life, state=stable, failures=0, backoffs=0), ()
        case Draining(run, ladder=ladder, then=then):
            return _end(life, run, then, ladder, now)
        case Stopping(rung=Rung.INTERRUPTED) as stopping:
            harder = replace(stopping, rung=Rung.TERMINATED)
            return replace(life, state=harder), (Signal(signal.SIGTERM),)
        case Stopping(rung=Rung.TERMINATED) as stopping:
            hardest = replace(stopping, rung=Rung.KILLED)
            return replace(life, state=hardest), (Signal(signal.SIGKILL),)
        case Stopping(run, then=then) | Sweeping(run, then=then):
            told = Answer(tuple(Asker), Verdict.STUCK, CANNOT_KILL)
            return replace(life, state=Stuck(run, then)), (told, Tell(Notice.STUCK))
        case Backoff():
            return _launch(replace(life, restarts=life.restarts + 1))
        case Stopped() | Launching() | Aborting() | Failed() | Stuck():
            return _impossible(life, DeadlinePassed())


# ---- the process


def _launched(life: Life, event: Launched, run: Run, policy: Policy) -> Step:
    match life.state:
        case Launching():
            starting = Starting(run, deadline=run.started.monotonic + policy.startup_timeout)
            spawned = Answer((Asker.SPAWN,), Verdict.DONE)
            return replace(life, state=starting), (Watch(), spawned, Tell(Notice.STARTING))
        case Aborting(then, ladder):
            return _end(life, run, then, ladder, run.started)
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
            return _impossible(life, event)


def _launch_failed(
    life: Life, event: LaunchFailed, end: Exit, now: Moment, policy: Policy, chance: float
) -> Step:
    match life.state:
        case Launching():
            failed = replace(life, last_exit=end, failures=life.failures + 1)
            told = Answer(STARTERS, Verdict.FAILED, end.message, end)
            recovered, actions = _recover(failed, Recover(was_stable=False), now, policy, chance)
            return recovered, (told, Tell(Notice.EXITED), *actions)
        case Aborting(then):
            return _then(life, then, now, policy, chance)
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
            return _impossible(life, event)


def _became_ready(life: Life, event: BecameReady, now: Moment, policy: Policy) -> Step:
    match life.state:
        case Starting(run):
            running = Running(replace(run, ready=now), now.monotonic + policy.stable_after)
            told = Answer(STARTERS, Verdict.DONE)
            return replace(life, state=running), (told, Tell(Notice.READY))
        case Running() | Draining() | Stopping() | Sweeping() | Stuck():
            return life, ()
        case Stopped() | Launching() | Aborting() | Backoff() | Failed():
            return _impossible(life, event)


def _went_silent(life: Life, event: WentSilent, now: Moment, policy: Policy) -> Step:
    match life.state:
        case Running(run):
            deadline = now.monotonic + policy.startup_timeout
            starting = Starting(replace(run, ready=None), deadline)
            return replace(life, state=starting), (Tell(Notice.STARTING),)
        case Draining(run, ladder=ladder, then=then):
            return _end(life, run, then, ladder, now)
        case Starting() | Stopping() | Sweeping() | Stuck():
            return life, ()
        case Stopped() | Launching() | Aborting() | Backoff() | Failed():
            return _impossible(life, event)


def _unresponsive(
    life: Life, event: Unresponsive, message: str, now: Moment, policy: Policy
) -> Step:
    match life.state:
        case Running(run, stable_at):
            then = Recover(stable_at is None, verdict=("unresponsive", message))
            ending, actions = _end(life, run, then, Ladder.of(policy.stop_grace), now)
            return ending, (Tell(Notice.UNRESPONSIVE), *actions)
        case Draining(run, ladder=ladder, then=then):
            ending, actions = _end(life, run, then, ladder, now)
            return ending, (Tell(Notice.UNRESPONSIVE), *actions)
        case Starting() | Stopping() | Sweeping() | Stuck():
            return life, ()
        case Stopped() | Launching() | Aborting() | Backoff() | Failed():
            return _impossible(life, event)


def _exited(life: Life, event: Exited, end: Exit, now: Moment, *, reboot: bool) -> Step:
    match life.state:
        case Starting(run) | Running(run) if reboot:
            return _sweep(replace(life, last_exit=_reboot(end)), run, Renew(), now)
        case Draining(run, then=then):
            unasked = _reboot(end) if reboot else replace(end, expected=False)
            return _sweep(replace(life, last_exit=unasked), run, then, now)
        case Starting(run):
            return _sweep(_failed_once(life, end), run, Recover(was_stable=False), now)
        case Running(run, stable_at):
            return _sweep(_failed_once(life, end), run, Recover(stable_at is None), now)
        case Stopping(run, then=Recover(verdict=(reason, message)) as then) | Stuck(
            run, then=Recover(verdict=(reason, message)) as then
        ):
            judged = replace(end, reason=reason, message=message)
            return _sweep(_failed_once(life, judged), run, then, now)
        case Stopping(run, then=then) | Stuck(run, then):
            asked = replace(end, expected=True, reason="stopped", message="it was asked to end")
            return _sweep(replace(life, last_exit=asked), run, then, now)
        case Stopped() | Launching() | Aborting() | Sweeping() | Backoff() | Failed():
            return _impossible(life, event)


def _drained(life: Life, event: Drained, now: Moment) -> Step:
    match life.state:
        case Draining(run, ladder=ladder, then=then):
            return _end(life, run, then, ladder, now)
        case Stopping() | Sweeping() | Stuck():
            return life, ()
        case Stopped() | Launching() | Aborting() | Starting() | Running() | Backoff() | Failed():
            return _impossible(life, event)


def _tree_gone(life: Life, event: TreeGone, now: Moment, policy: Policy, chance: float) -> Step:
    match life.state:
        case Sweeping(then=then) | Stuck(then=then):
            return _then(life, then, now, policy, chance)
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
            return _impossible(life, event)


# ---- ways that several events take


def _launch(life: Life) -> Step:
    return replace(life, state=Launching(), generation=life.generation + 1), (Launch(),)


def _drain(life: Life, asked: StopAsked | RestartAsked, then: Rest | Renew, now: Moment) -> Step:
    """Begin to drain; where that goes on already, what is asked now can only make it shorter."""
    deadline = now.monotonic + asked.drain
    match life.state:
        case Draining(run, deadline=earlier, ladder=ladder):
            draining = Draining(run, min(deadline, earlier), asked.ladder.hurried(ladder), then)
            return replace(life, state=draining), ()
        case Running(run):
            draining = Draining(run, deadline, asked.ladder, then)
            return replace(life, state=draining), (Drain(), Tell(Notice.DRAINING))
        case _:
            return _impossible(life, asked)


def _end(life: Life, run: Run, then: Then, ladder: Ladder, now: Moment) -> Step:
    stopping = Stopping(run, ladder.at(now.monotonic), Rung.INTERRUPTED, then)
    actions = (Unwatch(), Signal(signal.SIGINT), Tell(Notice.STOPPING))
    return replace(life, state=stopping), actions


def _sweep(life: Life, run: Run, then: Then, now: Moment) -> Step:
    """Begin the sweep; who waited for this process to become ready hears how it ended."""
    sweeping = Sweeping(run, now.monotonic + KILL_PATIENCE, then)
    actions: tuple[Action, ...] = (Unwatch(), Sweep(), Tell(Notice.EXITED))
    if isinstance(then, Recover) and (end := life.last_exit) is not None:
        actions = (Answer(STARTERS, Verdict.FAILED, end.message, end), *actions)
    return replace(life, state=sweeping), actions


def _then(life: Life, then: Then, now: Moment, policy: Policy, chance: float) -> Step:
    stopped = Answer((Asker.STOP,), Verdict.DONE)
    match then:
        case Rest():
            return replace(life, state=Stopped()), (stopped, Tell(Notice.STOPPED))
        case Renew():
            launching, actions = _launch(life)
            return launching, (stopped, *actions)
        case Recover():
            return _recover(life, then, now, policy, chance)


def _recover(life: Life, then: Recover, now: Moment, policy: Policy, chance: float) -> Step:
    """Decide after a failure: rest, give up, start at once, or wait."""
    clean = life.last_exit is not None and life.last_exit.exit_code == 0 and then.verdict is None
    if clean and policy.restart is not Restart.ALWAYS:
        return replace(life, state=Stopped()), (Tell(Notice.STOPPED),)
    if policy.restart is Restart.NEVER or life.failures >= policy.max_failures:
        return replace(life, state=Failed()), (Tell(Notice.FAILED),)
    if then.was_stable:
        return _launch(replace(life, restarts=life.restarts + 1))
    until = now.after(policy.backoff(life.backoffs, chance))
    waiting = replace(life, state=Backoff(until), backoffs=life.backoffs + 1)
    return waiting, (Tell(Notice.BACKOFF),)


def _forgiven(life: Life) -> Life:
    """Forget the failures: a caller starts it anew."""
    return replace(life, restarts=0, failures=0, backoffs=0)


def _failed_once(life: Life, end: Exit) -> Life:
    return replace(life, last_exit=replace(end, expected=False), failures=life.failures + 1)


def _reboot(end: Exit) -> Exit:
    return replace(end, expected=True, reason="reboot", message="ComfyUI asked for it")


def _followed_by_start(life: Life) -> Life:
    match life.state:
        case Aborting() | Draining() | Stopping() | Sweeping() | Stuck() as ending:
            return replace(_forgiven(life), state=replace(ending, then=Renew()))
        case _:
            return life


def _impossible(life: Life, event: Event) -> NoReturn:
    raise ImpossibleEventError(f"{event} cannot happen in {life.state}")
