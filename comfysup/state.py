"""What the next daemon would have to know if this one died now, and what the last one knew.

`<run>/state.json` is written before anything is done that it tells of. A daemon that is killed
between the two leaves a wish that the next one carries out, never a process that nobody owns.
"""

import asyncio
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import structlog

from comfysup.supervision.instance import Instance
from comfysup.supervision.records import InstanceRecord, RecordError, dump, load
from comfysup.supervision.spec import InstanceSpec
from comfysup.system.container_life import ContainerLife
from comfysup.system.state_file import StateFile

log = structlog.get_logger()

VERSION = 1

AGAIN = 1.0
"""Seconds between two tries while the file cannot be written."""


class StateError(Exception):
    """A state file that cannot be read as one; the text says why."""


@dataclass(frozen=True, slots=True)
class State:
    """What was written down. `applied` are the entries of instances.json that were taken on."""

    instances: tuple[InstanceRecord, ...] = ()
    applied: dict[int, InstanceSpec] = field(default_factory=dict)


class Keeper:
    """Writes down every instance as it is now.

    Only what changed is put into words again; the file is small and written whole. `applied` is
    asked each time for the entries of instances.json that were taken on.
    """

    def __init__(
        self,
        file: StateFile,
        life: ContainerLife,
        applied: Callable[[], Mapping[int, InstanceSpec]],
        known: Iterable[InstanceRecord] = (),
    ) -> None:
        """Keep in `file`, for this life of the container alone.

        `known` are those that are about to be taken over: who dies while it does that must not have
        written down the first of them only.
        """
        self._file = file
        self._head = {"version": VERSION, **asdict(life)}
        self._applied = applied
        self._written = {record.spec.id: _words(record) for record in known}
        self._next_try: asyncio.TimerHandle | None = None

    @property
    def is_behind(self) -> bool:
        """Whether the next daemon would go on with what was, since it cannot be written."""
        return self._file.problem is not None

    def keep(self, instance: Instance) -> None:
        """Write down that instance as it is now."""
        self._written[instance.spec.id] = _words(instance.record)
        self.write()

    def forget(self, instance: Instance) -> None:
        """Strike it out."""
        self._written.pop(instance.spec.id, None)
        self.write()

    def close(self) -> None:
        """Try no more to write what could not be written."""
        if self._next_try:
            self._next_try.cancel()
        self._next_try = None

    def write(self) -> None:
        """Write all again, now or as soon as that can be done."""
        self.close()
        applied = [dump(spec) for spec in self._applied().values()]
        head = json.dumps({**self._head, "applied": applied})
        body = ",\n".join(self._written.values())
        if not self._file.write(f'{head[:-1]}, "instances": [\n{body}\n]}}\n'.encode()):
            self._next_try = asyncio.get_running_loop().call_later(AGAIN, self.write)

    def forget_all(self) -> None:
        """Leave nothing for a next daemon to go on with."""
        self.close()
        self._file.forget()


def read_state(file: StateFile, life: ContainerLife) -> State:
    """Return what the last daemon of this life of the container wrote down.

    Nothing where there is no file, or one of another life; raises `StateError` for one that cannot
    be read.
    """
    try:
        content = file.read()
        if content is None:
            return State()
        state = json.loads(content)
    except (OSError, ValueError, RecursionError) as error:
        raise StateError(f"cannot read {file.path}: {error}") from error
    try:
        return _understood(state, life)
    except (KeyError, TypeError, ValueError, AttributeError, RecordError) as error:
        raise StateError(f"cannot understand {file.path}: {error!r}") from error


def _words(record: InstanceRecord) -> str:
    return json.dumps(dump(record))


def _understood(state: Any, life: ContainerLife) -> State:  # noqa: ANN401 - whatever JSON says
    here = asdict(life)
    if {name: state[name] for name in here} != here:
        log.info("state.of_another_life", instances=len(state["instances"]))
        return State()
    if state["version"] != VERSION:
        raise ValueError(f"version {state['version']}")
    applied = [load(each, InstanceSpec) for each in state["applied"]]
    return State(
        tuple(load(each, InstanceRecord) for each in state["instances"]),
        {spec.id: spec for spec in applied},
    )
