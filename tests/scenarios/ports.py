"""Ports that are reserved for one test."""

import socket
from contextlib import suppress
from dataclasses import dataclass, field


@dataclass(slots=True)
class Ports:
    """Reserves ports until `close`.

    A bound socket that never listens keeps the port from whoever asks the kernel for any free
    one, other tests too. Made reusable after it is bound, it does not hinder those that name the
    port and say SO_REUSEADDR, as ComfyUI and the daemon do.
    """

    _held: list[socket.socket] = field(default_factory=list)

    def reserve(self) -> int:
        return self._bind(0)

    def reserve_row(self, count: int) -> int:
        """Reserve consecutive ports, and return the first."""
        while True:
            first = self.reserve()
            with suppress(OSError, OverflowError):  # somebody has one of them, or there is none
                for port in range(first + 1, first + count):
                    self._bind(port)
                return first

    def _bind(self, wanted: int) -> int:
        holder = socket.socket()
        try:
            holder.bind(("0.0.0.0", wanted))  # noqa: S104 - what ComfyUI binds to
        except (OSError, OverflowError):
            holder.close()
            raise
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._held.append(holder)
        port: int = holder.getsockname()[1]
        return port

    def close(self) -> None:
        for holder in self._held:
            holder.close()


def refuses(port: int) -> bool:
    """Return whether no process listens on the port."""
    with socket.socket() as looker:
        looker.settimeout(5)
        return looker.connect_ex(("127.0.0.1", port)) != 0
