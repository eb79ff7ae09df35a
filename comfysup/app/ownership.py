"""Whether a process that the state file names is the instance's own.

Pid and start time name one process for good, but somebody may have edited the file. What was
launched bears a marker in its variables, which no one else has. A process can overwrite its
variables (`setproctitle` does), and one that is stuck does not show them; then its stdout must be
the FIFO of the instance.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from comfysup.linux.executor import Executor
from comfysup.linux.process.census import look_in_time
from comfysup.linux.process.proc import output_of, read_stat
from comfysup.linux.process.tree import NEVER
from comfysup.supervision.protocols import ProcessRecord
from comfysup.supervision.records import InstanceRecord


@dataclass(frozen=True, slots=True)
class Signs:
    """By what a process is known: the `markers` of all, by pid, and the paths of the FIFOs.

    `identity` is the first part of our own markers; `processes` looks at /proc.
    """

    identity: str
    markers: Mapping[int, str]
    fifo: Callable[[int, int], Path]
    processes: Executor


async def with_own_process(record: InstanceRecord, signs: Signs) -> tuple[InstanceRecord, bool]:
    """Return the record with what the marker of its process tells, and whether that is a stranger.

    A stranger is nobody in the record that is returned: what was the instance's has ended.
    """
    process = record.process
    stat = read_stat(process.pid) if process else None
    if process is None or stat is None:
        return record, False
    marker = signs.markers.get(process.pid, "")
    own = re.fullmatch(rf"{re.escape(signs.identity)}:{record.spec.id}:(\d{{1,9}})", marker)
    if stat.start_time != process.start_time:
        if own is None or int(own[1]) != record.life.generation or stat.session != process.pid:
            return record, False
        return replace(record, process=replace(process, start_time=stat.start_time)), False
    if own is not None:
        return replace(record, life=replace(record.life, generation=int(own[1]))), False
    if stat.ended:  # its variables are gone; only what was launched leads a session by itself
        is_own = stat.session == process.pid
    else:
        is_own = not marker and await _writes_to_own_output(record, process, signs)
    return (record, False) if is_own else (replace(record, process=_nobody(process)), True)


async def _writes_to_own_output(
    record: InstanceRecord, process: ProcessRecord, signs: Signs
) -> bool:
    fifo = signs.fifo(record.spec.id, record.life.generation)

    def look(pid: int) -> Path | None:
        return output_of(pid, process.start_time, fifo)

    return await look_in_time(signs.processes, process.pid, look) is not None


def _nobody(process: ProcessRecord) -> ProcessRecord:
    return replace(process, start_time=NEVER)
