"""Ports that nobody else gets while a test uses them."""

import socket
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
        holder = socket.socket()
        holder.bind(("0.0.0.0", 0))  # noqa: S104 - what ComfyUI binds to
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._held.append(holder)
        port: int = holder.getsockname()[1]
        return port

    def close(self) -> None:
        for holder in self._held:
            holder.close()


def refuses(port: int) -> bool:
    """Whether nobody listens on that port of this machine."""
    with socket.socket() as looker:
        looker.settimeout(5)
        return looker.connect_ex(("127.0.0.1", port)) != 0
