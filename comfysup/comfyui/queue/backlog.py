"""What is known of the prompts of one instance, and what must be run again after an end.

Pure: each method returns the backlog as it is afterwards. A prompt is in one of these places:

    running ─┐                 ┌─> handed in to the next process
    waiting ─┼─ lost() ─> owed ┤
    drained ─┘                 └─> given up, and said to be

What a process finished leaves it by no longer being seen. A prompt is handed in again once after a
crash that it may have caused; after the second it is given up, so that none can loop.

A look at `/queue` shows everything; between two looks only the depth is told, by `/ws`. So there is
a time in which prompts are accepted and not seen: they are counted (`unseen`).
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
    """All that is known of the prompts of one instance.

    `running`, `waiting` and `drained` are those of the present process, `pid`; `drained` were
    taken out of its queue to be run by the next one. `owed` are those of processes that ended, in
    the order in which they are to be handed in; `posted` is the id of the one that is being handed
    in, and of which no answer says whether the process has it; `ran` are the ids of those that ran
    when their process ended. `struck` are the ids of prompts that may have caused a crash.

    `told` is how many prompts the process has by its last word, None before the first, and `left`
    how many have left its queue since it was last looked at. `worked` says that any has ever.
    `heard_of` is how many changes were told of since that look, None before the first one that they
    can be counted from, and `due` how many will still be told of that the look has shown already.

    `choice` is what a caller wants rescued of this process, None to leave it to the policy;
    `overdue` says that the running one outlasted the time for a drain, `ended` that it has ended
    although it was last seen running, and `silent` that the process owed an answer for too long
    when it was to be stopped.
    """

    pid: int | None = None
    running: tuple[RunningPrompt, ...] = ()
    waiting: tuple[Prompt, ...] = ()
    drained: tuple[Prompt, ...] = ()
    owed: tuple[Prompt, ...] = ()
    posted: str | None = None
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
        """Whether the next daemon needs to know nothing of it."""
        prompts = self.running or self.waiting or self.drained or self.owed
        return not (prompts or self.unseen or self.choice or self.overdue)

    @property
    def known(self) -> Mapping[Key, Prompt]:
        """The prompts of the present process, so that they need not be read again."""
        return {each.key: each for each in (*self._taken, *self.waiting)}

    @property
    def ids(self) -> frozenset[str]:
        """The ids of those that run or wait in the present process."""
        return frozenset(each.id for each in (*self._taken, *self.waiting))

    @property
    def depth(self) -> int:
        """How many run or wait in the present process."""
        return len(self.running) + len(self.waiting)

    @property
    def all(self) -> tuple[Prompt, ...]:
        """All of them in the order in which they are to be run again."""
        running = self._taken[1:] if self.ended else self._taken
        return (*running, *in_order((*self.waiting, *self.drained)), *self.owed)

    @property
    def uncounted(self) -> Self:
        """The same without what `/ws` tells between two looks."""
        return replace(self, told=None, left=0, worked=False, due=0, heard_of=None)

    @property
    def is_whole(self) -> bool:
        """Whether the prompts of the present process are, by number, those that are known."""
        return self.told in (None, self.depth) and not self.left

    @property
    def unseen(self) -> int:
        """How many the process has accepted, at least, of which nothing else is known."""
        if self.told is None:
            return 0
        expected = max(0, self.depth - self.left) + len(self.drained) + (self.posted is not None)
        return max(0, self.told - expected)

    # ---- while a process lives

    def heard(self, remaining: int) -> Self:
        """Hear how many prompts the process had when this was sent, running or waiting.

        What the last look was ahead of says nothing new: ComfyUI answers `/queue` at once, and
        sends what has happened before, one message for each change, after that.
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
            # That is all that there is to see, as of this message: the next changes follow it.
            counted = None if heard.heard_of is None else 0
            return replace(heard.seen(Snapshot((), ()), 0.0), due=0, heard_of=counted)
        # More are known than were ever told of: the last ones were handed in after this was sent.
        staying = heard.waiting[heard.left - heard.depth :]
        return _pruned(replace(heard, running=(), waiting=staying, left=0))

    def marked(self, key: Key, mark: str) -> Self:
        """Note where the output ended while that prompt ran; nothing where it runs no more."""
        if not self.running or self.running[0].prompt.key != key:
            return self
        first, *others = self.running
        return replace(self, running=(replace(first, mark=mark), *others))

    def executed(self, count: int) -> Self:
        """Take on that so many prompts ended behind the mark of the running one, by the output.

        The first of them was the running one. Of the others it is not known which they were, since
        the queue may have been changed meanwhile; but so many have left it.
        """
        if not count or not self.running:
            return self
        more = max(0, count - self.left)
        told = None if self.told is None else max(0, self.told - more)
        return replace(self, ended=True, left=self.left + more, told=told, worked=True)

    def logged(self, unfinished: int) -> Self:
        """Take on that the process had so many prompts at least, by what it wrote at last."""
        return replace(self, told=max(unfinished, self.depth if self.told is None else self.told))

    def connected(self) -> Self:
        """Hear from now on what happens; of what has happened before nothing more is told."""
        return replace(self, due=0, heard_of=None)

    def seen(self, queue: Snapshot, now: float) -> Self:
        """Look at the queue of the process; `now` is wall-clock seconds."""
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
        """Move what waits to `drained`, but for what is not kept: it can only be run here."""
        drained = [each for each in self.waiting if each.content is not None]
        return replace(
            self,
            waiting=tuple(each for each in self.waiting if each.content is None),
            drained=in_order((*self.drained, *drained)),
        )

    # ---- when a process has ended

    def at_work(self, *, crashed: bool) -> str | None:
        """Return the id of the prompt that was worked on when the process ended; None: none known.

        Not of the one last seen running where that has left the queue since: then the next had
        begun. After a crash or a silence the next in line is meant also where none was seen
        running, and at last the one whose POST was not answered.
        """
        order = (*self._taken, *self.waiting)
        hung = crashed or self.silent
        if self.left < len(order) and (hung or self.running or self.left):
            return order[self.left].id
        return self.posted if hung else None

    def lost(
        self, rescue: Rescue, *, crashed: bool, ran: str | None = None
    ) -> tuple[Self, tuple[GivenUp, ...]]:
        """Owe the next process what this one had, and say what is given up.

        `rescue` is the policy; the choice of a caller goes before it. Neither holds for what is
        owed for longer: that was decided when the process ended that had it. `ran` is the id of the
        prompt that was worked on, where that is known better than from this backlog.
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
        """Give everything up, for a reason with its sentence: there will be no next process."""
        known = tuple(GivenUp(each.id, *why) for each in self.all)
        return type(self)(), (*known, *self._lost_unseen(why))

    def chosen(self, rescue: Rescue, *, at_end: bool) -> tuple[Self, tuple[GivenUp, ...]]:
        """Take on a caller's choice of what is rescued; say what is given up for it.

        It holds for what is owed by now, and with `at_end` for what the present process will leave.
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

    # ---- while the next process is given what is owed

    def posting(self, prompt: Prompt) -> Self:
        """Note that it is about to be handed in: should the process end by it, it is known."""
        return replace(self, posted=prompt.id)

    def handed_in(self, prompt: Prompt, number: float) -> Self:
        """Note that the process took it, under a number of its own."""
        waiting = in_order((*self.waiting, replace(prompt, number=number)))
        told = None if self.heard_of is None else self.heard_of - 1  # of this it is told too
        owed = self._owed_without(prompt)
        return _pruned(replace(self, owed=owed, waiting=waiting, heard_of=told))

    def settled(self, prompt: Prompt) -> Self:
        """Note that it is owed no more: the process has it already, or has refused it."""
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
    """Forget what is noted of prompts that are gone."""
    if not (backlog.struck or backlog.ran or backlog.posted):
        return backlog
    owed = {each.id for each in backlog.owed}
    return replace(
        backlog,
        struck=backlog.struck & {each.id for each in backlog.all},
        ran=backlog.ran & owed,
        posted=backlog.posted if backlog.posted in owed else None,
    )


def _bounded(backlog: B) -> B:
    """Keep the contents of as many as may be kept; first of those that nobody else has."""
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
