"""What is known of the prompts of one instance, and what must be run again after an end.

Pure: each method returns the backlog as it is afterwards. A prompt is in one of these places:

    running ─┐                 ┌─> handed in to the next process
    waiting ─┼─ lost() ─> owed ┤
    drained ─┘                 └─> given up, and said to be

What a process finished leaves it by no longer being seen. A prompt is handed in again once after a
crash that it may have caused; after the second it is given up, so that none can loop.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Self, TypeVar

from comfysup.comfyui.prompts import Key, Prompt, Snapshot
from comfysup.supervision.spec import Rescue

KEPT_PROMPTS = 2_000
KEPT_BYTES = 32 << 20
"""What is kept of one instance, in memory and on disk; of what is over it only the ids are."""


@dataclass(frozen=True, slots=True)
class Running:
    """A prompt that is being worked on; `since` is wall-clock seconds."""

    prompt: Prompt
    since: float

    @property
    def id(self) -> str:
        return self.prompt.id


@dataclass(frozen=True, slots=True)
class GivenUp:
    """A prompt that will not be run again; `reason` is a word for programs."""

    prompt_id: str
    reason: str
    message: str


B = TypeVar("B", bound="Backlog")

NOT_KEPT = (
    "not_kept",
    f"more prompts waited than are kept of an instance ({KEPT_PROMPTS}, {KEPT_BYTES >> 20} MiB)",
)
HELD_KEYS = (
    "held_keys",
    "it held a key or token, which are never written to disk, and the daemon had been replaced",
)
CRASHED_TWICE = ("crashed_twice", "it was running at two crashes")
UNWANTED = ("unwanted", "the instance's policy is not to rescue it")
REMOVED = ("removed", "its instance was removed")
ENDED = ("ended", "comfysup was told to end")


@dataclass(frozen=True, slots=True)
class Backlog:
    """All that is known of the prompts of one instance.

    `running`, `waiting` and `drained` are those of the present process, `pid`; `drained` were
    taken out of its queue to be run by the next one. `owed` are those of processes that ended, in
    the order in which they are to be handed in. `struck` are the ids of prompts that may have
    caused a crash. `moved_on` says that one has left the queue since it was last looked at.
    """

    pid: int | None = None
    running: tuple[Running, ...] = ()
    waiting: tuple[Prompt, ...] = ()
    drained: tuple[Prompt, ...] = ()
    owed: tuple[Prompt, ...] = ()
    struck: frozenset[str] = frozenset()
    moved_on: bool = False

    @property
    def is_empty(self) -> bool:
        return not (self.running or self.waiting or self.drained or self.owed)

    @property
    def known(self) -> Mapping[Key, Prompt]:
        """The prompts of the present process, so that they need not be read again."""
        return {each.key: each for each in (*self._taken, *self.waiting)}

    @property
    def depth(self) -> int:
        """How many run or wait in the present process."""
        return len(self.running) + len(self.waiting)

    @property
    def all(self) -> tuple[Prompt, ...]:
        """All of them in the order in which they are to be run again."""
        return (*self._taken, *_in_order((*self.waiting, *self.drained)), *self.owed)

    # ---- while a process lives

    def told(self, remaining: int) -> Self:
        """Hear how many prompts the process has now, running or waiting."""
        if remaining == 0:
            return self.seen(Snapshot((), ()), 0.0)
        return replace(self, moved_on=self.moved_on or remaining < self.depth)

    def seen(self, queue: Snapshot, now: float) -> Self:
        """Look at the queue of the process; `now` is wall-clock seconds."""
        since = {each.id: each.since for each in self.running}
        keys = {each.key for each in (*queue.running, *queue.waiting)}
        ids = {key[1] for key in keys}
        fresh = replace(
            self,
            running=tuple(Running(each, since.get(each.id, now)) for each in queue.running),
            waiting=queue.waiting,
            drained=tuple(each for each in self.drained if each.key not in keys),
            owed=tuple(each for each in self.owed if each.id not in ids),
            moved_on=False,
        )
        return _pruned(_bounded(fresh))

    def withdrawn(self) -> Self:
        """Move what waits to `drained`, but for what is not kept: it can only be run here."""
        drained = [each for each in self.waiting if each.content is not None]
        return replace(
            self,
            waiting=tuple(each for each in self.waiting if each.content is None),
            drained=_in_order((*self.drained, *drained)),
        )

    # ---- when a process has ended

    def lost(self, rescue: Rescue, *, crashed: bool) -> tuple[Self, tuple[GivenUp, ...]]:
        """Owe the next process what this one had, and say what is given up."""
        suspect = self._suspect() if crashed else None
        unwanted = set()
        if rescue is Rescue.NONE:
            unwanted = {each.key for each in self.all}
        elif rescue is Rescue.WAITING:
            unwanted = {each.key for each in self._taken}
        owed: list[Prompt] = []
        given_up: list[GivenUp] = []
        for prompt in self.all:
            if prompt.key in unwanted:
                given_up.append(GivenUp(prompt.id, *UNWANTED))
            elif prompt.id == suspect and suspect in self.struck:
                given_up.append(GivenUp(prompt.id, *CRASHED_TWICE))
            elif prompt.content is None:
                given_up.append(unkept(prompt))
            else:
                owed.append(prompt)
        struck = self.struck | ({suspect} if suspect else set())
        left = type(self)(owed=tuple(owed), struck=struck)
        return _pruned(left), tuple(given_up)

    def forgotten(self, why: tuple[str, str]) -> tuple[Self, tuple[GivenUp, ...]]:
        """Give everything up, for a reason with its sentence: there will be no next process."""
        return type(self)(), tuple(GivenUp(each.id, *why) for each in self.all)

    # ---- while the next process is given what is owed

    def handed_in(self, prompt: Prompt, number: float) -> Self:
        """Note that the process took it, under a number of its own."""
        waiting = _in_order((*self.waiting, replace(prompt, number=number)))
        return replace(self, owed=self._owed_without(prompt), waiting=waiting)

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

    def _suspect(self) -> str | None:
        """Return the prompt that was most likely being worked on when the process crashed.

        Not the one last seen running where one has left the queue since: then the next had begun.
        """
        if self.waiting and (self.moved_on or not self.running):
            return self.waiting[0].id
        return self.running[0].id if self.running else None


def _pruned(backlog: B) -> B:
    """Forget the strikes of prompts that are gone."""
    if not backlog.struck:
        return backlog
    return replace(backlog, struck=backlog.struck & {each.id for each in backlog.all})


def _bounded(backlog: B) -> B:
    """Keep the contents of as many as may be kept; first of those that nobody else has."""
    prompts = backlog.all
    if len(prompts) <= KEPT_PROMPTS and sum(each.size for each in prompts) <= KEPT_BYTES:
        return backlog
    room = _Room()
    owed = tuple(room.keep(backlog.owed))
    drained = tuple(room.keep(backlog.drained))
    kept = room.keep(each.prompt for each in backlog.running)
    running = tuple(
        replace(each, prompt=prompt) for each, prompt in zip(backlog.running, kept, strict=True)
    )
    waiting = tuple(room.keep(backlog.waiting))
    return replace(backlog, owed=owed, drained=drained, running=running, waiting=waiting)


class _Room:
    """How much more may be kept."""

    def __init__(self) -> None:
        self._prompts = KEPT_PROMPTS
        self._bytes = KEPT_BYTES

    def keep(self, prompts: Iterable[Prompt]) -> Iterator[Prompt]:
        """Yield the prompts, those for which there is no room without their content."""
        for prompt in prompts:
            self._prompts -= 1
            fits = self._prompts >= 0 and prompt.size <= self._bytes
            if fits:
                self._bytes -= prompt.size
            yield prompt if fits else replace(prompt, content=None, secret=False)


def _in_order(prompts: Iterable[Prompt]) -> tuple[Prompt, ...]:
    return tuple(sorted(prompts, key=lambda each: each.key))


def unkept(prompt: Prompt) -> GivenUp:
    """Say why a prompt without its content is given up."""
    return GivenUp(prompt.id, *(HELD_KEYS if prompt.secret else NOT_KEPT))
