"""One instance: one inbox, one deadline, and one task, which alone assigns its life."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TypeAlias

import structlog

from comfysup.model.spec import InstanceSpec
from comfysup.supervision.callers import Callers, PendingRequest, Reply, Request, ends_process
from comfysup.supervision.generation import Generation
from comfysup.supervision.life import (
    Backoff,
    Exit,
    Failed,
    GiveUp,
    Life,
    Run,
    Stopped,
    Stopping,
    Stuck,
    Sweeping,
)
from comfysup.supervision.lifecycle import step
from comfysup.supervision.lifecycle_events import (
    Action,
    CallOffLaunch,
    DeadlinePassed,
    Drain,
    Emit,
    Event,
    Launch,
    LifecycleEvent,
    Resolve,
    Signal,
    StopAsked,
    StrikePrompt,
    Sweep,
    TimeLost,
    Unwatch,
    WaitFor,
    WaitOutcome,
    Watch,
)
from comfysup.supervision.monitor import Health
from comfysup.supervision.protocols import Condition, InstanceContext
from comfysup.supervision.records import InstanceRecord
from comfysup.supervision.resumption import resume
from comfysup.supervision.stop_escalation import StopStage, cannot_kill

log = structlog.get_logger()

STUCK_HINT = (
    "the port stays taken and no other process is started until all of it has ended; end what "
    "belongs to another user as that user or as root; what waits in the kernel ends when its "
    "driver or volume answers, or with the machine"
)

Message: TypeAlias = Event | PendingRequest | Exception | None
"""A message of the inbox: an event, a request, an exception of a task, or None as a wake-up."""


class Instance:
    """Performs the actions that `step` returns for one instance.

    The fleet may replace `spec`; it keeps ids, names and ports unique.
    """

    def __init__(
        self, spec: InstanceSpec, context: InstanceContext, record: InstanceRecord | None = None
    ) -> None:
        """Start as a stopped instance, or in the state of `record`."""
        self.life = record.life if record else Life()
        self._spec = spec
        self._context = context
        self._inbox: asyncio.Queue[Message] = asyncio.Queue()
        self._callers = Callers()
        self._unheard: PendingRequest | None = None
        self._lost = 0.0
        self._removing = record.removing if record else False
        self._returning = record.returning if record else False
        self._generation = self._generate(record.launched if record else spec)
        if record:
            try:
                if resume(self.life, self._generation, record.process, self._watch):
                    self._context.observer(self, LifecycleEvent.ADOPTED)
            except Exception as defect:  # noqa: BLE001 - fails this instance, not the daemon
                self._inbox.put_nowait(defect)

    # ---- properties

    @property
    def spec(self) -> InstanceSpec:
        """The configured spec, which the next launch uses."""
        return self._spec

    @spec.setter
    def spec(self, spec: InstanceSpec) -> None:
        self._spec = spec
        self._context.touched(self)

    @property
    def record(self) -> InstanceRecord:
        """The state that the next daemon needs to resume this instance."""
        launched, process = self._generation.spec, self._generation.record
        return InstanceRecord(
            self._spec, launched, self.life, process, self._removing, self._returning
        )

    @property
    def removing(self) -> bool:
        """Whether the instance is removed after its exit; a start or restart clears this."""
        return self._removing

    @removing.setter
    def removing(self, removing: bool) -> None:
        if self._removing != removing:
            self._removing = removing
            self._context.touched(self)

    @property
    def returning(self) -> bool:
        """Whether a start follows the stop; any later request clears this."""
        return self._returning

    @returning.setter
    def returning(self, returning: bool) -> None:
        if self._returning != returning:
            self._returning = returning
            self._context.touched(self)

    @property
    def held_port(self) -> int | None:
        """The port of the last launch while that process, or a descendant of it, may live."""
        match self.life.state:
            case Stopped() | Backoff() | Failed():
                return None
            case _:
                return self._generation.spec.port

    @property
    def asked(self) -> Request | None:
        """The last request, while it waits in the inbox."""
        return self._unheard.event if self._unheard else None

    @property
    def idle(self) -> bool:
        """Whether the instance is stopped and no request waits in the inbox."""
        return isinstance(self.life.state, Stopped) and self.asked is None

    @property
    def health(self) -> Health:
        """The results of the probes of the present process."""
        return self._generation.health

    @property
    def conditions(self) -> Sequence[Condition]:
        """The lasting faults of the present process, which keeps running."""
        match self.life.state:
            case Stuck(remnants=remnants):
                return (Condition("stuck", cannot_kill(remnants), STUCK_HINT),)
            case _:
                return self._generation.conditions

    def note(self, condition: Condition) -> None:
        """Note a condition of the present process until that process exits."""
        self._generation.note(condition)

    async def last_lines(self, count: int) -> Sequence[str]:
        """Return the last `count` lines of the present process's output."""
        return await self._generation.last_lines(count)

    # ---- the task

    def ask(self, event: Request, wait_for: WaitFor) -> asyncio.Future[Reply]:
        """Enqueue a request; the future resolves when the request is done or cannot be done.

        The caller is registered when the inbox reaches the request. So the reply to an earlier
        request never resolves a later one.
        """
        reply: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._unheard = PendingRequest(event, wait_for, reply)
        if not isinstance(event, StopAsked):
            self.removing = self.returning = False
        self._inbox.put_nowait(self._unheard)
        return reply

    async def run(self) -> None:
        """Process events until cancelled. An unexpected exception makes this instance `failed`."""
        try:
            while True:
                event = await self._next_event()
                try:
                    self._live_on(event)
                except Exception as defect:  # noqa: BLE001 - the root of this instance's task
                    await self._contain(defect)
        finally:
            await self._generation.release()

    def lose_time(self, seconds: float) -> None:
        """Record a gap: the daemon did not run for the last `seconds` seconds."""
        self._lost += seconds
        self._inbox.put_nowait(None)  # wakes the task

    async def _next_event(self) -> Message:
        """Return the next event; a passed deadline counts only if the inbox is empty."""
        try:
            async with asyncio.timeout_at(self.life.deadline):
                return await self._inbox.get()
        except TimeoutError:
            self._context.clock()  # reports a gap, if there was one
            if self._lost or not self._inbox.empty():
                return self._inbox.get_nowait()
            return DeadlinePassed(self._remnants())

    def _live_on(self, event: Message) -> None:
        self._context.clock()
        if self._lost:
            lost, self._lost = self._lost, 0.0
            self._live_through(TimeLost(lost))
            if isinstance(event, DeadlinePassed):
                return
        if event is not None:
            self._live_through(event)

    def _remnants(self) -> tuple[str, ...]:
        match self.life.state:
            case Stopping(stop_stage=StopStage.KILLED) | Sweeping():
                return self._generation.remnants
            case _:
                return ()

    def _live_through(self, event: Event | PendingRequest | Exception) -> None:
        match event:
            case Exception():
                raise event
            case PendingRequest():
                self._callers.add(event)
                if event is self._unheard:
                    self._unheard = None
                event = event.event
                if event.rescue is not None:
                    at_end = ends_process(event, self.life.state)
                    self._context.drainer.choose(self.spec, event.rescue, at_end=at_end)
            case _:
                pass
        self.life, actions = step(self.life, event, self._context.clock(), self.spec.policy)
        self._context.touched(self)
        for action in actions:
            self._perform(action)

    def _perform(self, action: Action) -> None:
        match action:
            case Launch():
                self._generation = self._generate(self.spec)
                self._generation.launch()
            case CallOffLaunch():
                self._generation.call_off()
            case Watch():
                self._watch(ready=False)
            case Unwatch():
                self._generation.unwatch()
            case Drain():
                self._generation.drain()
            case StrikePrompt():
                self._generation.strike_prompt()
            case Signal(number):
                self._generation.signal(number)
            case Sweep():
                self._generation.sweep()
            case Resolve(waits, verdict, message, end):
                self._callers.answer(waits, Reply(verdict, message, end))
            case Emit(notice):
                self._context.observer(self, notice)

    def _generate(self, spec: InstanceSpec) -> Generation:
        """Return a generation with the number of the present life, without a process yet."""
        return Generation(
            self.life.generation,
            spec,
            self._context,
            self._inbox.put_nowait,
            lambda: self._context.touched(self),
        )

    def _watch(self, ready: bool) -> None:  # noqa: FBT001 - `resume` calls it
        if run := self.life.run:
            self._generation.watch(run.pid, lambda: self.spec.policy, ready=ready)

    # ---- callers, and unexpected exceptions

    def dismiss(self) -> None:
        """Tell all waiting callers that the daemon restarts in place; their requests continue."""
        message = f"still {self.life.phase} when comfysup restarted in place"
        self._callers.answer(tuple(WaitFor), Reply(WaitOutcome.DISMISSED, message))

    async def _contain(self, defect: Exception) -> None:
        """Kill the process, fail all waiting callers, and stay `failed` until a caller starts it.

        If the process tree does not end, the instance is `stuck` first, because no second process
        may run beside the first.
        """
        log.error("instance.broke", instance=self.spec.id, exc_info=defect)
        gone = False
        with self._whatever_breaks_too():
            await self._generation.release()
        with self._whatever_breaks_too():
            gone = await self._generation.kill()
        self._forget_reports()
        now = self._context.clock()
        end = Exit(now.wall, "internal_error", f"internal error: {defect!r}")
        if gone:
            reply, notice = Reply(WaitOutcome.FAILED, end.message, end), LifecycleEvent.FAILED
            broken = replace(self.life, state=Failed(), generation=self.life.generation + 1)
        else:
            remnants = self._generation.remnants
            reply, notice = (
                Reply(WaitOutcome.STUCK, cannot_kill(remnants), end),
                LifecycleEvent.STUCK,
            )
            run = self.life.run or Run(self._generation.pid or 0, now)
            ended = isinstance(self.life.state, Sweeping)
            broken = replace(self.life, state=Stuck(run, GiveUp(), remnants, ended))
        self.life = replace(broken, last_exit=end)
        self._callers.answer(tuple(WaitFor), reply)
        with self._whatever_breaks_too():
            self._context.touched(self)
            self._context.observer(self, notice)

    def _forget_reports(self) -> None:
        """Remove the reports of the killed process from the inbox."""
        messages = [self._inbox.get_nowait() for _ in range(self._inbox.qsize())]
        for each in messages:
            if each is None or isinstance(each, PendingRequest):
                self._inbox.put_nowait(each)

    @contextmanager
    def _whatever_breaks_too(self) -> Iterator[None]:
        """Log an exception raised during `_contain`; the instance must survive it."""
        try:
            yield
        except Exception:
            log.exception("instance.broke_again", instance=self.spec.id)
