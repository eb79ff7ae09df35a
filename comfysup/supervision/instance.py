"""One instance: one inbox, one deadline, one task that alone assigns its life."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from signal import Signals
from typing import TypeAlias

import structlog

from comfysup.supervision.events import (
    Action,
    Answer,
    Asker,
    CallOffLaunch,
    DeadlinePassed,
    Drain,
    Event,
    Launch,
    Notice,
    RestartAsked,
    Signal,
    StartAsked,
    StopAsked,
    Sweep,
    Tell,
    Unwatch,
    Verdict,
    Watch,
)
from comfysup.supervision.generation import Generation
from comfysup.supervision.life import (
    Aborting,
    Backoff,
    Draining,
    Exit,
    Failed,
    Launching,
    Life,
    Rung,
    Running,
    Starting,
    Stopped,
    Stopping,
    Stuck,
    Sweeping,
)
from comfysup.supervision.lifecycle import step
from comfysup.supervision.monitor import Health
from comfysup.supervision.protocols import ProcessRecord
from comfysup.supervision.records import InstanceRecord
from comfysup.supervision.spec import InstanceSpec
from comfysup.supervision.world import World

log = structlog.get_logger()

Request: TypeAlias = StartAsked | RestartAsked | StopAsked


@dataclass(frozen=True, slots=True)
class Reply:
    """What a caller of an instance hears when the wait is over."""

    verdict: Verdict
    message: str = ""
    exit: Exit | None = None


@dataclass(frozen=True, slots=True)
class Wish:
    """What a caller asks for, and the future through which the answer goes."""

    event: Request
    asker: Asker
    reply: asyncio.Future[Reply]


class Instance:
    """Carries out what `step` decides for one instance, and nothing else.

    `spec` may be replaced from outside by the fleet, which keeps ids, names and ports apart.
    """

    def __init__(
        self, spec: InstanceSpec, world: World, record: InstanceRecord | None = None
    ) -> None:
        """Begin as a stopped instance, or where `record` says that an earlier daemon left it."""
        self.life = record.life if record else Life()
        self._spec = spec
        self._world = world
        self._inbox: asyncio.Queue[Event | Wish | Exception] = asyncio.Queue()
        self._waiting: list[Wish] = []
        self._unheard: Wish | None = None
        self._generation = Generation(
            self.life.generation, record.launched if record else spec, world, self._inbox.put_nowait
        )
        if record:
            try:
                self._resume(record.process)
            except Exception as defect:  # noqa: BLE001 - one instance's, and not the daemon's
                self._inbox.put_nowait(defect)

    # ---- what it shows

    @property
    def spec(self) -> InstanceSpec:
        """What it is meant to be; the next launch goes by it."""
        return self._spec

    @spec.setter
    def spec(self, spec: InstanceSpec) -> None:
        self._spec = spec
        self._world.touched(self)

    @property
    def record(self) -> InstanceRecord:
        """All that the next daemon needs to go on with it."""
        return InstanceRecord(self._spec, self._generation.spec, self.life, self._generation.record)

    @property
    def held_port(self) -> int | None:
        """The port that its last launch went to, as long as something of that may live."""
        match self.life.state:
            case Stopped() | Backoff() | Failed():
                return None
            case _:
                return self._generation.spec.port

    @property
    def asked(self) -> Request | None:
        """What it was asked for last, as long as that waits in the inbox."""
        return self._unheard.event if self._unheard else None

    @property
    def idle(self) -> bool:
        """Whether it is stopped and nobody has asked it for anything else yet."""
        return isinstance(self.life.state, Stopped) and self.asked is None

    @property
    def health(self) -> Health:
        """What the probes of its present process found."""
        return self._generation.health

    # ---- how it lives

    def ask(self, event: Request, asker: Asker) -> asyncio.Future[Reply]:
        """Ask for something; the answer comes when it is done or cannot be any more.

        The caller begins to wait when its turn in the inbox comes, so that the answer to an
        earlier wish is never taken for the answer to this one.
        """
        reply: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._unheard = Wish(event, asker, reply)
        self._inbox.put_nowait(self._unheard)
        return reply

    async def run(self) -> None:
        """Live until cancelled. A defect in here ends as this instance's `failed`."""
        try:
            while True:
                event = await self._next_event()
                try:
                    self._live_through(event)
                except Exception as defect:  # noqa: BLE001 - the root of this instance's task
                    await self._contain(defect)
        finally:
            await self._generation.release()

    async def _next_event(self) -> Event | Wish | Exception:
        try:
            async with asyncio.timeout_at(self.life.deadline):
                return await self._inbox.get()
        except TimeoutError:
            return DeadlinePassed()

    def _live_through(self, event: Event | Wish | Exception) -> None:
        match event:
            case Exception():
                raise event
            case Wish():
                self._waiting.append(event)
                if event is self._unheard:
                    self._unheard = None
                event = event.event
            case _:
                pass
        self.life, actions = step(self.life, event, self._world.clock(), self.spec.policy)
        self._world.touched(self)
        for action in actions:
            self._perform(action)

    def _perform(self, action: Action) -> None:
        match action:
            case Launch():
                self._generation = Generation(
                    self.life.generation, self.spec, self._world, self._inbox.put_nowait
                )
                self._generation.launch()
            case CallOffLaunch():
                self._generation.call_off()
            case Watch():
                self._watch(ready=False)
            case Unwatch():
                self._generation.unwatch()
            case Drain():
                self._generation.drain()
            case Signal(number):
                self._generation.signal(number)
            case Sweep():
                self._generation.sweep()
            case Answer(askers, verdict, message, end):
                self._answer(askers, Reply(verdict, message, end))
            case Tell(notice):
                self._world.observer(self, notice)

    def _watch(self, *, ready: bool) -> None:
        if run := self.life.run:
            self._generation.watch(run.pid, lambda: self.spec.policy, ready=ready)

    def _resume(self, process: ProcessRecord | None) -> None:
        """Go on with what an earlier daemon was in the middle of."""
        match self.life.state:
            case Stopped() | Backoff() | Failed():
                return
            case Launching():
                if not self._generation.resume_launch():
                    self._generation.launch()
                return
            case Aborting():
                if not self._generation.resume_launch():
                    self._generation.fail_launch()
                return
            case Starting() | Running() | Draining() | Stopping() | Stuck() if process:
                self._generation.adopt(process, ended=False)
            case Sweeping() if process:
                self._generation.adopt(process, ended=True)
            case _:
                pass
        self._resume_watch()
        self._world.observer(self, Notice.ADOPTED)

    def _resume_watch(self) -> None:
        match self.life.state:
            case Starting() | Running():
                self._watch(ready=isinstance(self.life.state, Running))
            case Draining():
                self._watch(ready=True)
                self._generation.drain()
            case Stopping(rung=(Rung.TERMINATED | Rung.KILLED) as rung):
                # It was written down before it was sent. SIGINT must not be sent twice.
                self._generation.signal(Signals[rung])
            case Sweeping():
                self._generation.sweep()
            case _:
                pass

    # ---- callers, and defects

    def dismiss(self) -> None:
        """Answer whoever waits that the daemon starts anew; what they asked for goes on."""
        message = f"still {self.life.phase} when comfysup started anew"
        self._answer(tuple(Asker), Reply(Verdict.DISMISSED, message))

    def _answer(self, askers: tuple[Asker, ...], reply: Reply) -> None:
        waiting, self._waiting = self._waiting, []
        for wish in waiting:
            if wish.asker not in askers:
                self._waiting.append(wish)
            elif not wish.reply.done():
                wish.reply.set_result(reply)

    async def _contain(self, defect: Exception) -> None:
        """End what runs, tell whoever waits, and be `failed` until a caller starts it anew."""
        log.error("instance.broke", instance=self.spec.id, exc_info=defect)
        await self._generation.release()
        with self._whatever_breaks_too():
            await self._generation.kill()
        end = Exit(self._world.clock().wall, "internal_error", f"a defect of comfysup: {defect!r}")
        self.life = replace(
            self.life, state=Failed(), generation=self.life.generation + 1, last_exit=end
        )
        self._answer(tuple(Asker), Reply(Verdict.FAILED, end.message, end))
        with self._whatever_breaks_too():
            self._world.touched(self)
            self._world.observer(self, Notice.FAILED)

    @contextmanager
    def _whatever_breaks_too(self) -> Iterator[None]:
        """Log a defect met while another is contained: the instance must outlive both."""
        try:
            yield
        except Exception:
            log.exception("instance.broke_again", instance=self.spec.id)
