"""How an instance lives: `step` decides, and does nothing.

A function per event, and in it every state on purpose; the order of the states is that of a life.
What callers ask for is in `wishes`, what several transitions share in `moves`.
`docs/architecture.md` holds the same as a table, generated from here.
"""

import signal
from dataclasses import replace

from comfysup.supervision.events import (
    Answer,
    Asker,
    BecameReady,
    DeadlinePassed,
    Drained,
    Event,
    Exited,
    Launched,
    LaunchFailed,
    Notice,
    RestartAsked,
    Signal,
    StartAsked,
    StopAsked,
    Tell,
    TreeGone,
    Unresponsive,
    Verdict,
    Watch,
    WentSilent,
)
from comfysup.supervision.life import (
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
    Run,
    Rung,
    Running,
    Starting,
    Stopped,
    Stopping,
    Stuck,
    Sweeping,
)
from comfysup.supervision.moves import (
    CANNOT_KILL,
    STARTERS,
    Step,
    end_run,
    failed_once,
    go_on,
    impossible,
    launch,
    rebooted,
    recover,
    sweep,
)
from comfysup.supervision.spec import Policy
from comfysup.supervision.wishes import asked


def step(life: Life, event: Event, now: Moment, policy: Policy) -> Step:
    """Return the life after `event`, and what must be done for it."""
    match event:
        case StartAsked() | RestartAsked() | StopAsked():
            return asked(life, event, now)
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


# ---- the clock


def _deadline_passed(life: Life, now: Moment, policy: Policy) -> Step:
    match life.state:
        case Starting(run):
            message = f"not ready within {policy.startup_timeout:g} s"
            then = Recover(was_stable=False, verdict=("startup_timeout", message))
            return end_run(life, run, then, Ladder.of(policy.stop_grace), now)
        case Running() as running:
            stable = replace(running, stable_at=None)
            return replace(life, state=stable, failures=0, backoffs=0), ()
        case Draining(run, ladder=ladder, then=then):
            return end_run(life, run, then, ladder, now)
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
            return launch(replace(life, restarts=life.restarts + 1))
        case Stopped() | Launching() | Aborting() | Failed() | Stuck():
            return impossible(life, DeadlinePassed())


# ---- the process


def _launched(life: Life, event: Launched, run: Run, policy: Policy) -> Step:
    match life.state:
        case Launching():
            starting = Starting(run, deadline=run.started.monotonic + policy.startup_timeout)
            spawned = Answer((Asker.SPAWN,), Verdict.DONE)
            return replace(life, state=starting), (Watch(), spawned, Tell(Notice.STARTING))
        case Aborting(then, ladder):
            return end_run(life, run, then, ladder, run.started)
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
            failed = replace(life, last_exit=end, failures=life.failures + 1)
            told = Answer(STARTERS, Verdict.FAILED, end.message, end)
            recovered, actions = recover(failed, Recover(was_stable=False), now, policy, chance)
            return recovered, (told, Tell(Notice.EXITED), *actions)
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
            told = Answer(STARTERS, Verdict.DONE)
            return replace(life, state=running), (told, Tell(Notice.READY))
        case Running() | Draining() | Stopping() | Sweeping() | Stuck():
            return life, ()
        case Stopped() | Launching() | Aborting() | Backoff() | Failed():
            return impossible(life, event)


def _went_silent(life: Life, event: WentSilent, now: Moment, policy: Policy) -> Step:
    match life.state:
        case Running(run):
            deadline = now.monotonic + policy.startup_timeout
            starting = Starting(replace(run, ready=None), deadline)
            return replace(life, state=starting), (Tell(Notice.STARTING),)
        case Draining(run, ladder=ladder, then=then):
            return end_run(life, run, then, ladder, now)
        case Starting() | Stopping() | Sweeping() | Stuck():
            return life, ()
        case Stopped() | Launching() | Aborting() | Backoff() | Failed():
            return impossible(life, event)


def _unresponsive(
    life: Life, event: Unresponsive, message: str, now: Moment, policy: Policy
) -> Step:
    match life.state:
        case Running(run, stable_at):
            then = Recover(stable_at is None, verdict=("unresponsive", message))
            ending, actions = end_run(life, run, then, Ladder.of(policy.stop_grace), now)
            return ending, (Tell(Notice.UNRESPONSIVE), *actions)
        case Draining(run, ladder=ladder, then=then):
            ending, actions = end_run(life, run, then, ladder, now)
            return ending, (Tell(Notice.UNRESPONSIVE), *actions)
        case Starting() | Stopping() | Sweeping() | Stuck():
            return life, ()
        case Stopped() | Launching() | Aborting() | Backoff() | Failed():
            return impossible(life, event)


def _exited(life: Life, event: Exited, end: Exit, now: Moment, *, reboot: bool) -> Step:
    match life.state:
        case Starting(run) | Running(run) if reboot:
            return sweep(replace(life, last_exit=rebooted(end)), run, Renew(), now)
        case Draining(run, then=then):
            unasked = rebooted(end) if reboot else replace(end, expected=False)
            return sweep(replace(life, last_exit=unasked), run, then, now)
        case Starting(run):
            return sweep(failed_once(life, end), run, Recover(was_stable=False), now)
        case Running(run, stable_at):
            return sweep(failed_once(life, end), run, Recover(stable_at is None), now)
        case Stopping(run, then=Recover(verdict=(reason, message)) as then) | Stuck(
            run, then=Recover(verdict=(reason, message)) as then
        ):
            judged = replace(end, reason=reason, message=message)
            return sweep(failed_once(life, judged), run, then, now)
        case Stopping(run, then=then) | Stuck(run, then):
            asked = replace(end, expected=True, reason="stopped", message="it was asked to end")
            return sweep(replace(life, last_exit=asked), run, then, now)
        case Stopped() | Launching() | Aborting() | Sweeping() | Backoff() | Failed():
            return impossible(life, event)


def _drained(life: Life, event: Drained, now: Moment) -> Step:
    match life.state:
        case Draining(run, ladder=ladder, then=then):
            return end_run(life, run, then, ladder, now)
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
