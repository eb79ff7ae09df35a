"""The state file: what the next daemon needs if this one dies now.

`<run>/state.json` is written before each action that it describes. If the daemon is killed in
between, the next daemon performs the recorded request. No process is left without an owner.

Each version reads the files of all others as far as possible. Unknown fields are ignored, and each
instance is read separately.
"""

import asyncio
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import structlog

from comfysup.config.instance_fields import SpecError, default_name
from comfysup.config.stored_spec import sound_spec
from comfysup.linux.host.boot_identity import BootIdentity
from comfysup.linux.rundir.state_file import StateFile
from comfysup.model.spec import InstanceSpec
from comfysup.supervision.instance import Instance
from comfysup.supervision.records import InstanceRecord, RecordError, Sound, dump, load, salvage

log = structlog.get_logger()

VERSION = 1
"""Informs people only; a reader decides by the content."""

AGAIN = 1.0
"""Seconds between two attempts while the file cannot be written."""


class StateError(Exception):
    """The state file cannot be read; the text states the reason."""


@dataclass(frozen=True, slots=True)
class State:
    """The stored state. `applied` holds the applied entries of instances.json.

    `losses` has a sentence for each instance or entry that could not be read in full. `uncertain`
    holds the ids of instances whose state and process are unknown.
    """

    instances: tuple[InstanceRecord, ...] = ()
    applied: dict[int, InstanceSpec] = field(default_factory=dict)
    losses: tuple[str, ...] = ()
    uncertain: frozenset[int] = frozenset()


class StateStore:
    """Persists every instance as it is now.

    Only changed instances are serialized again; the file is small and is written whole. `applied`
    is called at each write for the applied entries of instances.json.
    """

    def __init__(
        self,
        file: StateFile,
        life: BootIdentity,
        applied: Callable[[], Mapping[int, InstanceSpec]],
        known: Iterable[InstanceRecord] = (),
        identity: str = "",
    ) -> None:
        """Write to `file`, valid until the container restarts; `identity` is the run directory's.

        `known` holds the records that are about to be restored. If the daemon dies during that, the
        file must still hold all of them.
        """
        self._file = file
        self._head = json.dumps({"version": VERSION, **asdict(life), "identity": identity})[:-1]
        self._applied = applied
        self._written = {record.spec.id: _words(record) for record in known}
        self._applied_known: dict[int, tuple[InstanceSpec, str]] = {}
        self._next_try: asyncio.TimerHandle | None = None

    @property
    def is_behind(self) -> bool:
        """Whether the file could not be written and so holds an older state."""
        return self._file.problem is not None

    def keep(self, instance: Instance) -> None:
        """Write the present state of that instance."""
        self._written[instance.spec.id] = _words(instance.record)
        self.write()

    def forget(self, instance: Instance) -> None:
        """Remove that instance from the file."""
        self._written.pop(instance.spec.id, None)
        self.write()

    def close(self) -> None:
        """Cancel the retry of a failed write."""
        if self._next_try:
            self._next_try.cancel()
        self._next_try = None

    def write(self) -> None:
        """Write the whole file; retry every `AGAIN` seconds after a failure."""
        self.close()
        applied, instances = ", ".join(self._applied_words()), ",\n".join(self._written.values())
        text = f'{self._head}, "applied": [{applied}], "instances": [\n{instances}\n]}}\n'
        if not self._file.write(text.encode()):
            self._next_try = asyncio.get_running_loop().call_later(AGAIN, self.write)

    def _applied_words(self) -> Iterator[str]:
        """Yield the JSON of each applied entry; unchanged specs are not serialized again."""
        known, self._applied_known = self._applied_known, {}
        for number, spec in self._applied().items():
            present, words = known.get(number, (None, ""))
            words = words if present is spec else json.dumps(dump(spec))
            self._applied_known[number] = (spec, words)
            yield words

    def forget_all(self) -> None:
        """Remove the file, so that a next daemon starts without instances."""
        self.close()
        self._file.forget()


def read_state(file: StateFile, life: BootIdentity) -> State:
    """Return the state that the last daemon wrote since the container started.

    The state is empty if there is no file, or the file is of another container start. Raises
    `StateError` when the file does not state its container start.
    """
    members = _members(file)
    if members is None:
        return State()
    here = asdict(life)
    missing = [name for name in here if name not in members]
    if missing:
        raise StateError(f"cannot understand {file.path}: it lacks {', '.join(missing)}")
    if {name: members[name] for name in here} != here:
        log.info("state.of_another_life")
        return State()
    losses: list[str] = []
    written, applied = (_list_in(members, name, losses) for name in ("instances", "applied"))
    return _salvaged(written, applied, losses)


def _list_in(members: Mapping[str, Any], name: str, losses: list[str]) -> list[object]:
    """Return a list member; if there is none, return an empty list and add a loss."""
    found = members.get(name)
    if isinstance(found, list):
        return found
    losses.append(f"{name}: {'missing' if found is None else 'not a list'}")
    return []


def written_identity(file: StateFile) -> str | None:
    """Return the identity of the run directory that the last daemon wrote, or None.

    It is the first part of every marker, so it is valid across restarts of the container.
    """
    try:
        members = _members(file) or {}
    except StateError:
        return None
    identity = members.get("identity")
    return identity if isinstance(identity, str) else None


def _members(file: StateFile) -> dict[str, Any] | None:
    """Return the members of the file, or None without a file; raises `StateError`."""
    try:
        content = file.read()
        if content is None:
            return None
        try:
            members = json.loads(content)
        except ValueError:
            members = _by_lines(content)
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise StateError(f"cannot read {file.path}: {error}") from error
    if not isinstance(members, dict):
        raise StateError(f"cannot understand {file.path}: it holds no object")
    return members


def _by_lines(content: bytes) -> Any:  # noqa: ANN401 - any JSON value
    """Read a damaged file line by line: the head is one line, and so is each instance."""
    head, *lines = content.split(b"\n")
    members = json.loads(head + b"]}")
    members["instances"] += [_line(line) for line in lines if line.strip() not in (b"", b"]}")]
    if content.rstrip()[-2:] != b"]}":
        members["instances"].append(None)  # marks a cut-off rest as lost
    return members


def _line(line: bytes) -> Any:  # noqa: ANN401 - likewise
    try:
        return json.loads(line.rstrip().removesuffix(b","))
    except (ValueError, RecursionError):
        return None


def _words(record: InstanceRecord) -> str:
    return json.dumps(dump(record))


def _salvaged(written: Iterable[object], applied: Iterable[object], losses: list[str]) -> State:
    """Read each instance and each entry separately."""
    instances: dict[int, InstanceRecord] = {}
    uncertain: set[int] = set()
    for number, each in enumerate(written):
        try:
            found = salvage(each, _sound)
        except RecordError as error:
            losses.append(f"instance {_id_in(each, number)}: {error}")
            continue
        record = found.record
        if record.spec.id in instances:
            losses.append(f"instance {record.spec.label}: a second record of the same id")
            continue
        record, lost = _with_own_name(record, instances.values())
        instances[record.spec.id] = record
        if lost := (*found.losses, *lost):
            losses.append(f"instance {record.spec.label}: {', '.join(lost)}")
        if not found.certain:
            uncertain.add(record.spec.id)
    entries = {entry.id: entry for entry in _salvaged_entries(applied, losses)}
    return State(tuple(instances.values()), entries, tuple(losses), frozenset(uncertain))


def _salvaged_entries(applied: Iterable[object], losses: list[str]) -> Iterator[InstanceSpec]:
    for each in applied:
        try:
            entry, wrong = _sound(load(each, InstanceSpec))
        except RecordError as error:
            losses.append(f"an entry of instances.json: {error}")
            continue
        if wrong:
            losses.append(f"entry {entry.label} of instances.json: {', '.join(wrong)}")
        else:
            yield entry


def _with_own_name(
    record: InstanceRecord, others: Iterable[InstanceRecord]
) -> tuple[InstanceRecord, tuple[str, ...]]:
    """Return the record with a unique name, and the fields that were lost."""
    spec = record.spec
    if all(spec.name != other.spec.name for other in others):
        return record, ()
    return replace(record, spec=replace(spec, name=default_name(spec.id))), ("spec.name",)


def _sound(spec: InstanceSpec) -> Sound:
    """Return a spec that a caller could have requested; raises `RecordError` when none can be."""
    try:
        return sound_spec(spec)
    except SpecError as error:
        raise RecordError(str(error)) from error


def _id_in(written: object, number: int) -> str:
    """Return the id in an unreadable record, or else the record's line."""
    match written:
        case {"spec": {"id": int(found)}}:
            return str(found)
        case _:
            return f"in line {number + 2}"
