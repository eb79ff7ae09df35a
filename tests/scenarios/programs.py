"""Environments whose ComfyUI is small enough to start and die a thousand times, or as unkind as
only a shell can be.

`venv/bin/python` is a shell script there, which is executed as any other program is. What it runs
sees `$port`, says things to the test by `say WORD…`, and serves by `serve`, as a child, or by
`SERVE`, in its own place.
"""

import sys
from pathlib import Path

_HEAD = """#!/bin/sh
said='<directory>/said'
say() { echo "$@" >> "$said"; }
serve() { '<python>' -I -S '<directory>/server.py' "$port"; }
while [ "$1" != --port ]; do shift; done
port=$2
"""

# Answers as ComfyUI does to the two questions that the daemon asks. Without imports that cost
# time: it is there 15 ms after it was started.
_SERVER = r"""
import _socket, sys
port = int(sys.argv[1])
server = _socket.socket(_socket.AF_INET, _socket.SOCK_STREAM)
server.setsockopt(_socket.SOL_SOCKET, _socket.SO_REUSEADDR, 1)
server.bind(("0.0.0.0", port))
server.listen(64)
STATS = b'{"system": {"python_version": "3"}, "devices": []}'
QUEUE = b'{"exec_info": {"queue_remaining": 0}}'
try:
    while True:
        client = _socket.socket(fileno=server._accept()[0])
        request = client.recv(65536)
        body = STATS if b"/system_stats" in request else QUEUE
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n"
        try:
            client.send(head + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        except OSError:
            pass
        client.close()
except KeyboardInterrupt:
    print("Stopped server", flush=True)
"""

SERVE = "exec '<python>' -I -S '<directory>/server.py' \"$port\""
"""The shell line that becomes ComfyUI, in the process that the daemon started."""

NEVER_READY = "exec sleep 3600"


class Program:
    """One such environment."""

    def __init__(self, workspace: Path, name: str = "comm", script: str = SERVE) -> None:
        self.directory = workspace / f"ComfyUI-{name}"
        (self.directory / "venv" / "bin").mkdir(parents=True)
        (self.directory / "main.py").touch()
        (self.directory / "server.py").write_text(_SERVER)
        self.python = self.directory / "venv" / "bin" / "python"
        self.write(script)

    def write(self, script: str) -> None:
        """Set the script of the next process."""
        # Replaced and not written: a shell reads its script while it runs.
        draft = self.python.with_suffix(".new")
        places = {"<directory>": str(self.directory), "<python>": sys.executable}
        text = f"{_HEAD}{script}\n"
        for place, value in places.items():
            text = text.replace(place, value)
        draft.write_text(text)
        draft.chmod(0o755)
        draft.replace(self.python)

    def said(self, word: str) -> list[list[str]]:
        """Return the arguments of each complete line that begins with a word."""
        file = self.directory / "said"
        text = file.read_text() if file.exists() else ""
        lines = [line.split() for line in text.split("\n")[:-1]]
        return [line[1:] for line in lines if line[:1] == [word]]

    def pids(self, word: str) -> list[int]:
        return [int(words[0]) for words in self.said(word)]
