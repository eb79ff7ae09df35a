"""Load on one address: by `wrk` where it is installed, else by `python -m benchmarks.load`.

The second is a single Python process, which at more than some 10,000 answers a second measures
itself; it is there so that there is a number at all.
"""

import asyncio
import json
import re
import shutil
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from typing import Self
from urllib.parse import SplitResult, urlsplit

from benchmarks.figures import Figures

UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What clients saw; times are seconds."""

    answers_per_second: float
    median: float
    p99: float

    @classmethod
    def of_wrk(cls, text: str) -> Self:
        """Read what `wrk --latency` printed; raises ValueError where an answer was no 2xx."""
        rate = re.search(r"Requests/sec: +([\d.]+)", text)
        if rate is None or "Non-2xx" in text or "Socket errors" in text:
            raise ValueError(f"cannot use what wrk says:\n{text}")
        times = {
            share: float(number) * UNITS[unit]
            for share, number, unit in re.findall(r"(\d+)% +([\d.]+)(us|ms|s)\b", text)
        }
        return cls(float(rate[1]), times["50"], times["99"])


def client() -> str:
    """Return the program that makes the load."""
    return "wrk" if shutil.which("wrk") else "a Python client"


def load(url: str, clients: int, seconds: float) -> Outcome:
    """Ask without a pause over so many connections that are kept."""
    if shutil.which("wrk"):
        command = ["wrk", "--latency", "-t1", f"-c{clients}", f"-d{seconds:g}s", url]
        return Outcome.of_wrk(subprocess.check_output(command, text=True))
    command = [sys.executable, "-m", "benchmarks.load", url, str(clients), str(seconds)]
    return Outcome(**json.loads(subprocess.check_output(command, text=True)))


async def _ask_all(url: SplitResult, clients: int, seconds: float) -> Outcome:
    until = time.perf_counter() + seconds
    latencies = await asyncio.gather(*(_ask(url, until) for _ in range(clients)))
    together = Figures([each for one in latencies for each in one])
    return Outcome(len(together.seconds) / seconds, together.median, together.percentile(99))


async def _ask(url: SplitResult, until: float) -> list[float]:
    reader, writer = await asyncio.open_connection(url.hostname, url.port)
    request = f"GET {url.path} HTTP/1.1\r\nHost: {url.netloc}\r\n\r\n".encode()
    latencies = []
    while (asked := time.perf_counter()) < until:
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200 "):
            raise ValueError(f"not answered with 200: {head!r}")
        length = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
        await reader.readexactly(int(length[1]) if length else 0)
        latencies.append(time.perf_counter() - asked)
    writer.close()
    return latencies


def main() -> None:
    url, clients, seconds = sys.argv[1:]
    outcome = asyncio.run(_ask_all(urlsplit(url), int(clients), float(seconds)))
    print(json.dumps(asdict(outcome)))


if __name__ == "__main__":
    main()
