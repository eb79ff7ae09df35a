"""Probes the readiness and liveness of an instance over HTTP.

ComfyUI opens its port only after loading, so a refused connection means that it is loading. Only a
response of its own process counts, because another process may hold the port.
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
"""Seconds between checks of a loading instance's port; a check takes microseconds."""
READY_PATIENCE = 10.0
"""Seconds to wait for the first response of the instance's listener before a retry."""
_NO_RESOURCES = {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS, errno.EADDRNOTAVAIL}
"""Errors of a request that this process lacks the resources to send."""
_CONNECTED = {0, errno.EISCONN, errno.EALREADY}

OwnsPort: TypeAlias = Callable[[int, int], Awaitable[bool]]
"""Returns whether a listener on that port belongs to that pid or a descendant.

Raises OSError if /proc does not answer.
"""
IsBusy: TypeAlias = Callable[[], Awaitable[bool]]
"""Returns whether the process tree has worked since the last call. Never raises."""
BusyOf: TypeAlias = Callable[[InstanceSpec, int], IsBusy]


async def never_busy() -> bool:
    """Return False, for an instance whose queue is not watched."""
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
        # No event reports that another process opens a port, so this polls.
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
    """Return whether a process listens on that local port, without waiting.

    The first call starts a connection, which the kernel decides at once on the loopback; the second
    returns the result. EALREADY means a listener with a full backlog.
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
    """Return whether a response has the fields of /system_stats since 2023."""
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
