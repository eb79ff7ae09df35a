"""The moves that several transitions share: the life after each, and what is to be done."""

import signal
from dataclasses import replace
from typing import NoReturn, TypeAlias

from comfysup.supervision.events import (
    Action,
    Answer,
    Asker,
    Drain,
    Event,
    Launch,
    Notice,
    RestartAsked,
    Signal,
    StopAsked,
    Sweep,
    Tell,
    Unwatch,
    Verdict,
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


def launch(life: Life) -> Step:
    """Begin the next generation."""
    return replace(life, state=Launching(), generation=life.generation + 1), (Launch(),)


def drain(life: Life, asked: StopAsked | RestartAsked, then: Rest | Renew, now: Moment) -> Step:
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
            return impossible(life, asked)


def end_run(life: Life, run: Run, then: Then, ladder: Ladder, now: Moment) -> Step:
    """Begin to end the process, by the hardest signal that is needed."""
    stopping = Stopping(run, ladder.at(now.monotonic), Rung.INTERRUPTED, then)
    actions = (Unwatch(), Signal(signal.SIGINT), Tell(Notice.STOPPING))
    return replace(life, state=stopping), actions


def sweep(life: Life, run: Run, then: Then, now: Moment) -> Step:
    """Begin the sweep; who waited for this process to become ready hears how it ended."""
    sweeping = Sweeping(run, now.monotonic + KILL_PATIENCE, then)
    actions: tuple[Action, ...] = (Unwatch(), Sweep(), Tell(Notice.EXITED))
    if isinstance(then, Recover) and (end := life.last_exit) is not None:
        actions = (Answer(STARTERS, Verdict.FAILED, end.message, end), *actions)
    return replace(life, state=sweeping), actions


def go_on(life: Life, then: Then, now: Moment, policy: Policy, chance: float) -> Step:
    """Do what follows once nothing of the process is left."""
    stopped = Answer((Asker.STOP,), Verdict.DONE)
    match then:
        case Rest():
            return replace(life, state=Stopped()), (stopped, Tell(Notice.STOPPED))
        case Renew():
            launching, actions = launch(life)
            return launching, (stopped, *actions)
        case Recover():
            return recover(life, then, now, policy, chance)


def recover(life: Life, then: Recover, now: Moment, policy: Policy, chance: float) -> Step:
    """Decide after a failure: rest, give up, start at once, or wait."""
    clean = life.last_exit is not None and life.last_exit.exit_code == 0 and then.verdict is None
    if clean and policy.restart is not Restart.ALWAYS:
        return replace(life, state=Stopped()), (Tell(Notice.STOPPED),)
    if policy.restart is Restart.NEVER or life.failures >= policy.max_failures:
        return replace(life, state=Failed()), (Tell(Notice.FAILED),)
    if then.was_stable:
        return launch(replace(life, restarts=life.restarts + 1))
    until = now.after(policy.backoff(life.backoffs, chance))
    waiting = replace(life, state=Backoff(until), backoffs=life.backoffs + 1)
    return waiting, (Tell(Notice.BACKOFF),)


def forgiven(life: Life) -> Life:
    """Forget the failures: a caller starts it anew."""
    return replace(life, restarts=0, failures=0, backoffs=0)


def failed_once(life: Life, end: Exit) -> Life:
    return replace(life, last_exit=replace(end, expected=False), failures=life.failures + 1)


def rebooted(end: Exit) -> Exit:
    return replace(end, expected=True, reason="reboot", message="ComfyUI asked for it")


def followed_by_start(life: Life) -> Life:
    """Let what is ending be started again, without a failure."""
    match life.state:
        case Aborting() | Draining() | Stopping() | Sweeping() | Stuck() as ending:
            return replace(forgiven(life), state=replace(ending, then=Renew()))
        case _:
            return life


def impossible(life: Life, event: Event) -> NoReturn:
    raise ImpossibleEventError(f"{event} cannot happen in {life.state}")
