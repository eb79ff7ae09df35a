"""Probes of servers in this process."""

import asyncio
import socket
import ssl
from collections.abc import Callable
from typing import Protocol, TypeVar

import aiohttp

from comfysup.comfyui import probe as module
from comfysup.comfyui.probe import ComfyProber
from comfysup.model.spec import InstanceSpec
from comfysup.supervision.protocols import Finding, Probe, Prober
from tests.unit.comfyui.servers import (
    ComfyServer,
)

ServerT = TypeVar("ServerT", bound=ComfyServer)
SHORT = 0.05
LONG = 30.0


class Serve(Protocol):
    """Starts a server that is closed when the test is over."""

    async def __call__(
        self, server: ServerT, port: int = 0, tls: ssl.SSLContext | None = None
    ) -> ServerT: ...


def spec(port: int, *extra_args: str) -> InstanceSpec:
    return InstanceSpec(0, "main", "comm", port, extra_args)


def in_thread(owns: Callable[[int, int], bool]) -> module.OwnsPort:
    async def owns_in_thread(pid: int, port: int) -> bool:
        return await asyncio.to_thread(owns, pid, port)

    return owns_in_thread


def probe(
    session: aiohttp.ClientSession,
    port: int,
    owns: Callable[[int, int], bool] = lambda _pid, _port: True,
    *,
    busy: bool = False,
) -> Probe:
    async def is_busy() -> bool:
        return busy

    prober: Prober = ComfyProber(session, in_thread(owns), lambda _spec, _pid: is_busy)
    return prober.probe(spec(port), 42)


async def stop(*tasks: asyncio.Task[Finding] | asyncio.Task[None]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def closed_port() -> int:
    with socket.socket() as looker:
        looker.bind(("127.0.0.1", 0))
        port: int = looker.getsockname()[1]
        return port
