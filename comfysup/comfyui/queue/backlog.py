"""The prompts of one instance: those its process has, and those to resubmit after it has exited.

Pure: each method returns the new backlog. A prompt is in one of these places:

    running ─┐                 ┌─> resubmitted to the next process
    waiting ─┼─ lost() ─> owed ┤
    drained ─┘                 └─> given up, and reported

A finished prompt leaves the backlog when it no longer appears in the queue. A prompt that may have
caused a crash is resubmitted once; after the second crash it is given up, so that it cannot loop.

A read of `/queue` shows all prompts; between two reads `/ws` reports only their number. Prompts
that were accepted but not yet read are therefore only counted (`unseen`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Self, TypeVar

from comfysup.comfyui.queue.given_up import (
    CRASHED_TWICE,
    KEPT_BYTES,
    KEPT_PROMPTS,
    NOT_CHOSEN,
    OVERDUE,
    UNSEEN,
    UNWANTED,
    GivenUp,
    Room,
    unkept,
)
from comfysup.comfyui.queue.prompts import Key, Prompt, RunningPrompt, Snapshot, in_order
from comfysup.model.spec import Rescue

B = TypeVar("B", bound="Backlog")


@dataclass(frozen=True, slots=True)
class Backlog:
    """The prompts of one instance.

    `running`, `waiting` and `drained` belong to the current process, `pid`; `drained` prompts were
    removed from its queue for the next process. `owed` prompts belong to exited processes, in the
    order of resubmission. `unconfirmed` is the id of the prompt that is being resubmitted, while no
    response confirms it. `ran` are the ids of prompts that ran when their process exited, and
    `struck` those of prompts that may have caused a crash.

    `told` is the number of prompts that the process reported last, None before the first report.
    `left` is how many have left its queue since the last read, and `worked` whether any ever has.
    `heard_of` counts the changes reported since that read, None before a read to count from; `due`
    counts changes that the read already included and that are still to be reported.

    `choice` is a caller's choice of what to rescue from this process, None for the policy's.
    `overdue` means that the running prompt outlasted the drain, `ended` that it has ended since it
    was last seen running, and `silent` that the process did not respond when it was to be stopped.
    """

    pid: int | None = None
    running: tuple[RunningPrompt, ...] = ()
    waiting: tuple[Prompt, ...] = ()
    drained: tuple[Prompt, ...] = ()
    owed: tuple[Prompt, ...] = ()
    unconfirmed: str | None = None
    ran: frozenset[str] = frozenset()
    struck: frozenset[str] = frozenset()
    told: int | None = None
    left: int = 0
    worked: bool = False
    due: int = 0
    heard_of: int | None = None
    choice: Rescue | None = None
    overdue: bool = False
    ended: bool = False
    silent: bool = False

    @property
    def is_empty(self) -> bool:
        """Whether nothing needs to be stored for the next daemon."""
        prompts = self.running or self.waiting or self.drained or self.owed
        return not (prompts or self.unseen or self.choice or self.overdue)

    @property
    def known(self) -> Mapping[Key, Prompt]:
        """The prompts of the current process by key, so that they are not parsed again."""
        return {each.key: each for each in (*self._taken, *self.waiting)}

    @property
    def ids(self) -> frozenset[str]:
        """The ids of the prompts that run or wait in the current process."""
        return frozenset(each.id for each in (*self._taken, *self.waiting))

    @property
    def depth(self) -> int:
        """The number of prompts that run or wait in the current process."""
        return len(self.running) + len(self.waiting)

    @property
    def all(self) -> tuple[Prompt, ...]:
        """All prompts in the order in which they are to run again."""
        running = self._taken[1:] if self.ended else self._taken
        return (*running, *in_order((*self.waiting, *self.drained)), *self.owed)

    @property
    def uncounted(self) -> Self:
        """The same without the counters that `/ws` updates between two reads."""
        return replace(self, told=None, left=0, worked=False, due=0, heard_of=None)

    @property
    def is_whole(self) -> bool:
        """Whether the process reports as many prompts as are known."""
        return self.told in (None, self.depth) and not self.left

    @property
    def unseen(self) -> int:
        """The minimum number of prompts that the process has accepted and that were not read."""
        if self.told is None:
            return 0
        known = max(0, self.depth - self.left) + len(self.drained)
        return max(0, self.told - known - (self.unconfirmed is not None))

    # ---- while a process lives

    def heard(self, remaining: int) -> Self:
        """Record how many prompts ran or waited when the process sent a status message.

        Messages about changes that the last read already included are skipped: ComfyUI responds to
        `/queue` at once, and sends its pending messages, one for each change, afterwards.
        """
        if self.due:
            return replace(self, due=self.due - 1)
        before = self.depth if self.told is None else self.told
        gone = max(0, before - remaining)
        heard = replace(
            self,
            told=remaining,
            left=self.left + gone,
            worked=self.worked or gone > 0,
            heard_of=None if self.heard_of is None else self.heard_of + 1,
        )
        if remaining:
            return heard
        if heard.left >= heard.depth:
            # Equivalent to a read of an empty queue at this message; later changes follow it.
            counted = None if heard.heard_of is None else 0
            return replace(heard.seen(Snapshot((), ()), 0.0), due=0, heard_of=counted)
        # More prompts are known than were reported: the last were submitted after this message.
        staying = heard.waiting[heard.left - heard.depth :]
        return _pruned(replace(heard, running=(), waiting=staying, left=0))

    def marked(self, key: Key, mark: str) -> Self:
        """Record where the output ended while that prompt ran. No effect if it no longer runs."""
        if not self.running or self.running[0].prompt.key != key:
            return self
        first, *others = self.running
        return replace(self, running=(replace(first, mark=mark), *others))

    def executed(self, count: int) -> Self:
        """Record that so many prompts ended after the mark of the running one, by the output.

        The first of them was the running one. The others are unknown, because the queue may have
        changed meanwhile, and are only counted.
        """
        if not count or not self.running:
            return self
        more = max(0, count - self.left)
        told = None if self.told is None else max(0, self.told - more)
        return replace(self, ended=True, left=self.left + more, told=told, worked=True)

    def logged(self, unfinished: int) -> Self:
        """Record that the process had at least so many prompts, by its last output."""
        return replace(self, told=max(unfinished, self.depth if self.told is None else self.told))

    def connected(self) -> Self:
        """Record a new `/ws` connection: changes before it are not reported any more."""
        return replace(self, due=0, heard_of=None)

    def seen(self, queue: Snapshot, now: float) -> Self:
        """Record a read of the queue; `now` is wall-clock seconds."""
        before = Snapshot(self._taken, self.waiting)
        changes = queue.changes_since(before)
        ahead = self.due + changes - (self.heard_of or 0)
        known = self.heard_of is not None and changes > 0
        shown = self._showing(queue, now)
        return replace(shown, due=max(0, ahead) if known else 0, heard_of=0)

    def _showing(self, queue: Snapshot, now: float) -> Self:
        since = {each.id: each.since for each in self.running}
        marks = {each.prompt.key: each.mark for each in self.running}
        keys = {each.key for each in (*queue.running, *queue.waiting)}
        ids = {key[1] for key in keys}
        fresh = replace(
            self,
            running=tuple(
                RunningPrompt(each, since.get(each.id, now), marks.get(each.key, ""))
                for each in queue.running
            ),
            waiting=queue.waiting,
            drained=tuple(each for each in self.drained if each.key not in keys),
            owed=tuple(each for each in self.owed if each.id not in ids),
            told=len(keys),
            left=0,
            worked=self.worked or not since.keys() <= ids,
            silent=False,
        )
        return _pruned(_bounded(fresh))

    def withdrawn(self) -> Self:
        """Move waiting prompts to `drained`, except those without content, which only run here."""
        drained = [each for each in self.waiting if each.content is not None]
        return replace(
            self,
            waiting=tuple(each for each in self.waiting if each.content is None),
            drained=in_order((*self.drained, *drained)),
        )

    # ---- when a process has ended

    def at_work(self, *, crashed: bool) -> str | None:
        """Return the id of the prompt that was executing when the process exited, None if unknown.

        If the prompt last seen running has left the queue since, the next one was executing. After
        a crash or a silence it is the next in line even if none was seen running, and if none
        waited either, the one whose POST was not answered.
        """
        order = (*self._taken, *self.waiting)
        hung = crashed or self.silent
        if self.left < len(order) and (hung or self.running or self.left):
            return order[self.left].id
        return self.unconfirmed if hung else None

    def lost(
        self, rescue: Rescue, *, crashed: bool, ran: str | None = None
    ) -> tuple[Self, tuple[GivenUp, ...]]:
        """Move the prompts of the exited process to `owed`; also return those given up.

        `rescue` is the policy; a caller's choice overrides it. Prompts already owed are not
        affected. `ran` is the id of the executing prompt, if known better than by this backlog.
        """
        ran = ran or self.at_work(crashed=crashed)
        suspect = ran if crashed or self.overdue else None
        unwanted = {ran} - {None} if (self.choice or rescue) is not Rescue.ALL else set()
        if (self.choice or rescue) is Rescue.NONE:
            unwanted |= {each.id for each in (*self._taken, *self.waiting, *self.drained)}
        why = UNWANTED if self.choice is None else NOT_CHOSEN
        owed: list[Prompt] = []
        given_up: list[GivenUp] = []
        for prompt in self.all:
            if prompt.id in unwanted:
                given_up.append(GivenUp(prompt.id, *why))
            elif prompt.id == suspect and suspect in self.struck:
                given_up.append(GivenUp(prompt.id, *(CRASHED_TWICE if crashed else OVERDUE)))
            elif prompt.content is None:
                given_up.append(unkept(prompt))
            else:
                owed.append(prompt)
        given_up += self._lost_unseen(UNSEEN)
        left = type(self)(
            owed=tuple(owed),
            ran=self.ran | ({ran} if ran else set()),
            struck=self.struck | ({suspect} if suspect else set()),
        )
        return _pruned(left), tuple(given_up)

    def forgotten(self, why: tuple[str, str]) -> tuple[Self, tuple[GivenUp, ...]]:
        """Give up all prompts, for a reason with its sentence: no next process will start."""
        known = tuple(GivenUp(each.id, *why) for each in self.all)
        return type(self)(), (*known, *self._lost_unseen(why))

    def chosen(self, rescue: Rescue, *, at_end: bool) -> tuple[Self, tuple[GivenUp, ...]]:
        """Apply a caller's choice of what to rescue; also return the prompts given up for it.

        It applies to the owed prompts, and with `at_end` to those that the current process leaves.
        """
        unwanted: frozenset[str] = frozenset()
        if rescue is not Rescue.ALL:
            every = frozenset(each.id for each in self.owed)
            unwanted = every if rescue is Rescue.NONE else self.ran
        left = replace(
            self,
            owed=tuple(each for each in self.owed if each.id not in unwanted),
            choice=rescue if at_end else self.choice,
        )
        given_up = (each for each in self.owed if each.id in unwanted)
        return _pruned(left), tuple(GivenUp(each.id, *NOT_CHOSEN) for each in given_up)

    # ---- while owed prompts are resubmitted

    def submitting(self, prompt: Prompt) -> Self:
        """Record that a prompt is about to be resubmitted, so that it is known if it crashes."""
        return replace(self, unconfirmed=prompt.id)

    def submitted(self, prompt: Prompt, number: float) -> Self:
        """Record that the process accepted a prompt, under a new number."""
        waiting = in_order((*self.waiting, replace(prompt, number=number)))
        told = None if self.heard_of is None else self.heard_of - 1  # `/ws` reports this change too
        owed = self._owed_without(prompt)
        return _pruned(replace(self, owed=owed, waiting=waiting, heard_of=told))

    def settled(self, prompt: Prompt) -> Self:
        """Remove a prompt from the owed ones: the process has or had it, or has refused it."""
        left = replace(
            self,
            owed=self._owed_without(prompt),
            drained=tuple(each for each in self.drained if each is not prompt),
        )
        return _pruned(left)

    # ---- inside

    @property
    def _taken(self) -> tuple[Prompt, ...]:
        return tuple(each.prompt for each in self.running)

    def _owed_without(self, prompt: Prompt) -> tuple[Prompt, ...]:
        return tuple(each for each in self.owed if each is not prompt)

    def _lost_unseen(self, why: tuple[str, str]) -> tuple[GivenUp, ...]:
        return (GivenUp(None, *why, count=self.unseen),) if self.unseen else ()


def _pruned(backlog: B) -> B:
    """Remove notes about prompts that are gone."""
    if not (backlog.struck or backlog.ran or backlog.unconfirmed):
        return backlog
    owed = {each.id for each in backlog.owed}
    return replace(
        backlog,
        struck=backlog.struck & {each.id for each in backlog.all},
        ran=backlog.ran & owed,
        unconfirmed=backlog.unconfirmed if backlog.unconfirmed in owed else None,
    )


def _bounded(backlog: B) -> B:
    """Keep the contents of as many prompts as allowed; first of those that ComfyUI lacks."""
    prompts = backlog.all
    if len(prompts) <= KEPT_PROMPTS and sum(each.size for each in prompts) <= KEPT_BYTES:
        return backlog
    room = Room(KEPT_PROMPTS, KEPT_BYTES)
    owed = tuple(room.keep(backlog.owed))
    drained = tuple(room.keep(backlog.drained))
    kept = room.keep(each.prompt for each in backlog.running)
    running = tuple(
        replace(each, prompt=prompt) for each, prompt in zip(backlog.running, kept, strict=True)
    )
    waiting = tuple(room.keep(backlog.waiting))
    return replace(backlog, owed=owed, drained=drained, running=running, waiting=waiting)
