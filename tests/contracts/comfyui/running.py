"""One stand-in as a process, with waits for its output and state."""

import asyncio
import os
import signal
import socket
import subprocess
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

READY = "To see the GUI go to: "


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


class Output:
    """What the process writes to one of its streams, past the end of the process too.

    asyncio's own subprocess waits for every holder of the pipe before it tells of an exit.
    """

    def __init__(self) -> None:
        self._read, self.write_end = os.pipe()
        self.reader = asyncio.StreamReader(limit=2**20)
        self._transport: asyncio.ReadTransport | None = None

    async def listen(self) -> None:
        os.close(self.write_end)
        protocol = asyncio.StreamReaderProtocol(self.reader)
        pipe = os.fdopen(self._read, "rb")
        self._transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: protocol, pipe
        )

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()


@dataclass(slots=True)
class Running:
    """The process, what it writes, and a client of its port."""

    process: subprocess.Popen[bytes]
    port: int
    client: aiohttp.ClientSession
    stdout: Output
    stderr: Output
    lines: list[str] = field(default_factory=list)

    @classmethod
    async def start(
        cls, environment: Path, client: aiohttp.ClientSession, *arguments: str, **variables: str
    ) -> "Running":
        """Starts it on a free port; `variables` are without `STANDIN_`, in lower case."""
        port, stdout, stderr = free_port(), Output(), Output()
        kept = {name: value for name, value in os.environ.items() if "COMFY" not in name}
        chosen = {
            name if name.startswith("__") else f"STANDIN_{name.upper()}": value
            for name, value in variables.items()
        }
        process = subprocess.Popen(  # noqa: ASYNC220 - a start takes a millisecond
            ["venv/bin/python", "main.py", "--port", str(port), *arguments],
            cwd=environment,
            env=kept | chosen,
            stdin=subprocess.DEVNULL,
            stdout=stdout.write_end,
            stderr=stderr.write_end,
            start_new_session=True,
        )
        await stdout.listen()
        await stderr.listen()
        return cls(process, port, client, stdout, stderr)

    async def says(self, text: str) -> str:
        """Wait for a line with the text; raise AssertionError if the output ends before."""
        while line := await self.stderr.reader.readline():
            self.lines.append(line.decode().rstrip("\n"))
            if text in self.lines[-1]:
                return self.lines[-1]
        raise AssertionError(f"ended without saying {text!r}: {self.lines}")

    async def ready(self) -> "Running":
        await self.says(READY)
        return self

    async def ended(self) -> int:
        """The return code: negative for a signal."""
        return await asyncio.to_thread(self.process.wait)

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    async def ask(
        self,
        method: str,
        path: str,
        *,
        json: object = None,
        data: bytes | dict[str, str] | None = None,
        headers: dict[str, str] | None = None,
    ) -> dict[str, Any]:
        """Return a response in the recorded form: `status` and `body`."""
        async with self.client.request(
            method, self.url(path), json=json, data=data, headers=headers
        ) as response:
            is_json = response.content_type == "application/json"
            body = await response.json() if is_json else await response.text()
            return {"status": response.status, "body": body}

    async def submit(self, graph: dict[str, Any], **more: object) -> dict[str, Any]:
        return await self.ask("POST", "/prompt", json={"prompt": graph, **more})

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    async def close(self) -> None:
        """Kill the rest of the process group."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        await self.ended()
        self.stdout.close()
        self.stderr.close()


def sleep(seconds: float) -> dict[str, Any]:
    return {"1": {"class_type": "StandInSleep", "inputs": {"seconds": seconds}}}


def node(class_type: str, **inputs: object) -> dict[str, Any]:
    return {"1": {"class_type": class_type, "inputs": inputs}}


PREVIEW = {
    "1": {
        "class_type": "EmptyImage",
        "inputs": {"width": 64, "height": 64, "batch_size": 1, "color": 255},
    },
    "2": {"class_type": "PreviewImage", "inputs": {"images": ["1", 0]}},
}
