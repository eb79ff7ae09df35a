"""Whether an instance is ready, and whether it lives, by what it answers on its port.

ComfyUI opens its port when loading is over and not before, so a connection that
is refused means "loads". Only an answer of its own process counts: a stranger may hold the port.
"""

import asyncio
import errno
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeAlias

from comfysup.comfyui.client import ComfyClient, ComfyError, NoAnswerError, Session
from comfysup.comfyui.command import base_url
from comfysup.model.spec import InstanceSpec
from comfysup.supervision.protocols import Finding

LOOK_PERIOD = 0.05
"""Seconds between two looks at the port of an instance that loads; a look costs microseconds."""
READY_PATIENCE = 10.0
"""Seconds for the first answer of a listener that is ours, before it is asked again."""
_NO_RESOURCES = {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS, errno.EADDRNOTAVAIL}
"""What this process lacks when it cannot even ask."""
_CONNECTED = {0, errno.EISCONN, errno.EALREADY}

OwnsPort: TypeAlias = Callable[[int, int], Awaitable[bool]]
"""Whether a listener on that port belongs to that pid or a descendant; raises OSError where /proc
does not tell."""
IsBusy: TypeAlias = Callable[[], Awaitable[bool]]
"""Whether the process tree has worked since the last call; raises nothing."""
BusyOf: TypeAlias = Callable[[InstanceSpec, int], IsBusy]


async def never_busy() -> bool:
    """Answer for an instance whose queue nobody watches."""
    return False


@dataclass(frozen=True, slots=True)
class ComfyProber:
    """A `Prober`: makes probes that share a session (of `new_session`), which its owner closes."""

    session: Session
    owns_port: OwnsPort
    busy_of: BusyOf = lambda _spec, _pid: never_busy

    def probe(self, spec: InstanceSpec, pid: int) -> "ComfyProbe":
        client = ComfyClient(self.session, base_url(spec))
        return ComfyProbe(client, spec.port, pid, self.owns_port, self.busy_of(spec, pid))


@dataclass(slots=True)
class ComfyProbe:
    """A `Probe` of one process; every question is a connection of its own.

    `is_busy` looks at /proc, so it is asked only where no answer comes: once beforehand, which is
    what the next call goes by.
    """

    client: ComfyClient
    port: int
    pid: int
    owns_port: OwnsPort
    is_busy: IsBusy = never_busy
    _answered: bool = True

    async def until_ready(self) -> None:
        # Nothing tells when a port of another process opens: it must be looked at.
        while not await self._is_ready():  # noqa: ASYNC110
            await asyncio.sleep(LOOK_PERIOD)

    async def ask(self, patience: float) -> Finding:
        """Ask once for the length of the queue, the cheapest answer that ComfyUI has.

        An answer that is none of ComfyUI's is none: SILENT. Where this process lacks the
        descriptors or memory to ask, nothing is known of the instance, and it must not be ended
        for that: BUSY. So is a silent process whose tree works: it may well hold the GIL.
        """
        asking = asyncio.create_task(self._ask(patience))
        try:
            await asyncio.wait([asking], timeout=patience / 2)
            if self._answered and not asking.done():
                await self.is_busy()
            finding = await asking
        finally:
            asking.cancel()
        self._answered = finding is not Finding.SILENT
        if finding is Finding.SILENT and await self.is_busy():
            return Finding.BUSY
        return finding

    async def _is_ready(self) -> bool:
        if not _is_listening(self.port):
            return False
        with suppress(ComfyError, OSError):
            if await self.owns_port(self.pid, self.port):
                return _is_system_stats(await self.client.system_stats(READY_PATIENCE))
        return False

    async def _ask(self, patience: float) -> Finding:
        try:
            answer = await self.client.queue_info(patience)
        except ComfyError as error:
            return _finding_of(error)
        return Finding.ANSWERED if _is_queue_info(answer) else Finding.SILENT


def _is_listening(port: int) -> bool:
    """Say whether somebody accepts connections on that port of this machine, without waiting.

    The first call begins to connect; on the loopback the kernel has decided when it returns, and
    the second tells how. EALREADY is a listener whose queue of connections is full.
    """
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as looker:
            address = ("127.0.0.1", port)
            return looker.connect_ex(address) == 0 or looker.connect_ex(address) in _CONNECTED
    except OSError:
        return False


def _finding_of(error: ComfyError) -> Finding:
    number = error.number if isinstance(error, NoAnswerError) else None
    if number == errno.ECONNREFUSED:
        return Finding.REFUSED
    return Finding.BUSY if number in _NO_RESOURCES else Finding.SILENT


def _is_system_stats(answer: object) -> bool:
    """Know ComfyUI by what /system_stats has held since 2023."""
    match answer:
        case {"system": {"python_version": str()}, "devices": list()}:
            return True
        case _:
            return False


def _is_queue_info(answer: object) -> bool:
    match answer:
        case {"exec_info": {"queue_remaining": int()}}:
            return True
        case _:
            return False
