"""What a caller asks for, in every state on purpose."""

from dataclasses import replace

from comfysup.supervision.events import (
    Answer,
    Asker,
    CallOffLaunch,
    Notice,
    RestartAsked,
    StartAsked,
    StopAsked,
    Tell,
    Verdict,
)
from comfysup.supervision.life import (
    Aborting,
    Backoff,
    Draining,
    Failed,
    Launching,
    Life,
    Moment,
    Renew,
    Rest,
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
    drain,
    end_run,
    followed_by_start,
    forgiven,
    launch,
)


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
            return life, (Answer((Asker.SPAWN,), Verdict.DONE),)
        case Running():
            return life, (Answer(STARTERS, Verdict.DONE),)
        case Aborting() | Draining() | Stopping() | Sweeping():
            return followed_by_start(life), ()
        case Stuck():
            return followed_by_start(life), (Answer(STARTERS, Verdict.STUCK, CANNOT_KILL),)


def _restart_asked(life: Life, asked: RestartAsked, now: Moment) -> Step:
    match life.state:
        case Running() | Draining() if asked.drain:
            return drain(forgiven(life), asked, Renew(), now)
        case Starting(run) | Running(run) | Draining(run):
            return end_run(forgiven(life), run, Renew(), asked.ladder, now)
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
            draining, actions = drain(life, asked, Rest(), now)
            return draining, (overridden, *actions)
        case Starting(run) | Running(run) | Draining(run):
            ending, actions = end_run(life, run, Rest(), ladder, now)
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
