"""Logs: scenarios 33 to 36."""

import asyncio
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.scenarios import kernel
from tests.scenarios.client import API
from tests.scenarios.harness import Daemon
from tests.scenarios.programs import SERVE, Program
from tests.scenarios.waiting import HANG, bounded, until, until_async

WRITE = """
import os, sys, time
lines, width, pause = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
for number in range(lines):
    os.write(1, b"%0*d\\n" % (width - 1, number))
    if pause and number % 50 == 0:
        time.sleep(pause)
"""


def write(lines: int, width: int, pause: float = 0.0) -> str:
    """Return a shell command that writes numbered lines, each in a separate write."""
    return f"'<python>' -I -S '<directory>/write.py' {lines} {width} {pause}"


def program(daemon: Daemon, script: str) -> Program:
    made = Program(daemon.workspace, script=script)
    (made.directory / "write.py").write_text(WRITE)
    return made


def files(daemon: Daemon) -> list[Path]:
    """The files of the log of instance 0, the oldest first."""
    found = list(daemon.log_dir.glob("comfyui_instance_0.log*"))
    return sorted(found, key=lambda path: -int(path.suffix[1:] if path.suffix != ".log" else 0))


def content(daemon: Daemon) -> bytes:
    return b"".join(path.read_bytes() for path in files(daemon))


@asynccontextmanager
async def session(daemon: Daemon) -> AsyncIterator[aiohttp.ClientSession]:
    connector = aiohttp.UnixConnector(str(daemon.run_dir / "api.sock"))
    async with aiohttp.ClientSession("http://localhost", connector=connector) as one:
        yield one


def logs(
    asking: aiohttp.ClientSession, query: str = "", **headers: str
) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
    timeout = aiohttp.ClientTimeout(total=HANG)
    return asking.get(f"{API}/instances/0/logs{query}", headers=headers, timeout=timeout)


async def read_until(answer: aiohttp.ClientResponse, end: str) -> str:
    data = b""
    async with bounded():
        while end.encode() not in data[-200_000:]:
            piece = await answer.content.readany()
            assert piece, "the stream ended"
            data += piece
    return data.decode()


async def test_a_flood_of_output_does_not_delay_requests(
    daemon: Daemon,
) -> None:
    """Scenario 33."""
    flood = program(daemon, f"say begins; {write(48_828, 4_096)}; say flooded; {SERVE}")
    await daemon.start()
    before = kernel.resident_bytes(daemon.pid)
    await daemon.api.start(0, daemon.ports.reserve(), wait={"wait": "spawn"})

    answered = 0
    most = before
    while not flood.said("flooded"):
        assert (await daemon.api.ask("GET", f"{API}/status")).status == 200
        answered += 1
        most = max(most, kernel.resident_bytes(daemon.pid))
        await asyncio.sleep(0.005)
    await daemon.api.until(0, state="running")

    heading, _, lines = content(daemon).partition(b"\n")
    assert heading.endswith(b"generation 1")
    assert lines == b"".join(b"%04095d\n" % number for number in range(48_828))
    assert most - before < 20 << 20
    assert answered > 5  # held up, it would be one


NASTY = (
    b"\x1b[32mgreen\x1b[0m\0\xff\xfe\x07\n"
    + b"".join(b"\r%3d%%|####    |" % percent for percent in range(101))
    + b"\n"
    + b"x" * 10_000_000
    + b"\nthe end\n"
)
HARMLESS = "green\ufffd\ufffd\n100%|####    |\n" + "x" * 10_000_000 + "\nthe end\n"


async def test_the_file_keeps_the_bytes_and_readers_get_text(daemon: Daemon) -> None:
    """Scenario 34."""
    made = program(daemon, f"cat '<directory>/nasty'; {SERVE}")
    (made.directory / "nasty").write_bytes(NASTY)
    await daemon.start()
    before = kernel.resident_bytes(daemon.pid)
    await daemon.api.start(0, daemon.ports.reserve())

    async with session(daemon) as asking:
        async with logs(asking, "?lines=4") as answer:
            text = await answer.text()
        async with logs(asking, "?lines=4&follow=true") as answer:
            followed = await read_until(answer, "the end\n")
        async with logs(asking, "?lines=4", Accept="text/event-stream") as answer:
            events = await read_until(answer, "the end\n")

    heard = "".join(
        line.removeprefix("data: ")
        for event in events.split("\n\n")
        if not event.startswith("event: ")
        for line in event.split("\n")
        if line.startswith("data: ")
    )
    assert content(daemon).partition(b"\n")[2] == NASTY
    assert text == HARMLESS
    assert (
        "".join(f"{line.rpartition(chr(13))[2]}\n" for line in followed.split("\n")[:-1])
        == HARMLESS
    )
    assert heard.replace("\n", "") == HARMLESS.replace("\n", "")
    assert kernel.resident_bytes(daemon.pid) - before < 20 << 20


@pytest.fixture
def small_disk(daemon: Daemon) -> Iterator[Path]:
    """A file system of 1 MB where the logs go."""
    daemon.log_dir.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "comfysup-test", str(daemon.log_dir)]
    if subprocess.run(command, check=False, capture_output=True).returncode != 0:
        pytest.skip("only root can mount a small disk")
    yield daemon.log_dir
    subprocess.run(["umount", "--lazy", str(daemon.log_dir)], check=True)


async def test_a_full_log_disk_stops_no_instance_and_dropped_bytes_are_reported(
    daemon: Daemon, small_disk: Path
) -> None:
    """Scenario 35."""
    ballast = small_disk / "ballast"
    ballast.write_bytes(b"x" * 900_000)
    script = f"{write(50_000, 100)}; say flooded; read wait < '<directory>/go'; echo after; {SERVE}"
    flood = program(daemon, script)
    go = flood.directory / "go"
    subprocess.run(["mkfifo", str(go)], check=True)  # noqa: ASYNC221
    await daemon.start()
    await daemon.api.start(0, daemon.ports.reserve(), wait={"wait": "spawn"})

    await until(lambda: flood.said("flooded"))
    (trouble,) = await daemon.api.troubles()
    assert trouble.endswith("comfyui_instance_0.log: No space left on device")
    ballast.unlink()
    await daemon.api.until_well()  # also while the instance says nothing
    go.write_text("go\n")
    await daemon.api.until(0, state="running")

    kept, _, after = content(daemon).partition(b"[comfysup: ")
    count, _, after = after.partition(b" ")
    written = len(kept.rstrip(b"\n").partition(b"\n")[2])
    assert after.startswith(b"bytes of log were dropped here]\n")
    # Some of it may still have waited in the FIFO when there was room again.
    late, said, _ = after.partition(b"]\n")[2].partition(b"after\n")
    assert abs(written + int(count) + len(late) - 5_000_000) <= 1
    assert said
    assert len(daemon.events("log.refused")) == len(daemon.events("log.resumed")) == 1


async def test_a_stopped_follower_learns_of_missed_bytes_and_delays_no_other(
    daemon: Daemon,
) -> None:
    """Scenario 36."""
    lines = 60_000
    program(daemon, f"{SERVE} & sleep 0.5; {write(lines, 100, 0.002)}; echo the end; wait")
    await daemon.start(log_max_bytes=300_000, log_keep=3)
    await daemon.api.start(0, daemon.ports.reserve())
    numbered = [f"{number:099}\n" for number in range(lines)]

    async with (
        session(daemon) as asking,
        logs(asking, "?follow=true&lines=0") as stopped,
        logs(asking, "?follow=true&lines=0") as reading,
    ):
        read = await read_until(reading, "the end\n")
        late = await read_until(stopped, "the end\n")

    assert "".join(numbered) in read
    before, _, after = late.partition("[comfysup: ")
    count, _, after = after.partition(" bytes missed]\n")
    assert len(before) + int(count) + len(after) == len(read)
    assert read.startswith(before)
    assert read.endswith(after)


async def test_followers_that_disconnect_during_a_flood_cause_no_error(
    daemon: Daemon,
) -> None:
    """The fixture asserts at the end of the daemon that it has logged no error."""
    flood = program(daemon, f"{write(20_000, 4_096)}; say flooded; {SERVE}")
    await daemon.start()
    await daemon.api.start(0, daemon.ports.reserve(), wait={"wait": "spawn"})

    async with session(daemon) as asking:
        while not flood.said("flooded"):
            for accept in ("text/plain", "text/event-stream"):
                async with logs(asking, "?follow=true&lines=99999", Accept=accept) as answer:
                    await answer.content.readany()
    shown = await daemon.api.until(0, state="running")
    assert shown["generation"] == 1


async def test_a_follower_sees_the_next_generation_and_a_clean_end(daemon: Daemon) -> None:
    program(daemon, SERVE)
    await daemon.start()
    await daemon.api.start(0, daemon.ports.reserve())

    async with session(daemon) as asking, logs(asking, "?follow=true") as answer:
        first = await read_until(answer, "generation 1\n")
        await daemon.api.act(0, "stop")
        await daemon.api.act(0, "start")
        second = await read_until(answer, "generation 2\n")
        ending = asyncio.create_task(daemon.close())
        rest = await answer.text()
        await ending

    assert first.count("===") == 1
    assert "Stopped server" in second
    assert "Stopped server" in rest


async def test_the_last_lines_of_an_exit_are_correct_after_a_rotation(
    daemon: Daemon,
) -> None:
    program(daemon, f"{write(500, 100)}; echo last words; exit 3")
    await daemon.start(log_max_bytes=10_000, log_keep=2)

    answer = await daemon.api.start(0, daemon.ports.reserve())

    tail = (await daemon.api.show(0))["last_exit"]["log_tail"]
    assert answer.status == 500
    assert tail[-1] == "last words"
    assert tail[-2] == f"{499:099}"
    assert len(files(daemon)) == 3


async def test_generations_leave_no_thread_and_no_descriptor(daemon: Daemon) -> None:
    program(daemon, f"{write(20, 100)}; exit 1")
    await daemon.start(
        log_max_bytes=100_000,
        log_keep=2,
        backoff_initial=0.001,
        backoff_max=0.001,
        max_failures=60,
    )

    def held() -> tuple[int, int]:
        return kernel.threads(daemon.pid), kernel.descriptors(daemon.pid)

    await daemon.api.start(0, daemon.ports.reserve(), wait={"wait": "spawn"})
    shown: dict[str, Any] = await daemon.api.until(0, state="failed")
    await until(lambda: not daemon.open_outputs())
    before = held()
    await daemon.api.act(0, "start", wait="spawn")
    shown = await daemon.api.until(0, state="failed")

    await until(lambda: before == held())
    assert shown["generation"] >= 120


async def test_a_link_in_place_of_a_log_is_reported_until_the_instance_is_removed(
    daemon: Daemon,
) -> None:
    Program(daemon.workspace)
    victim = daemon.root / "victim"
    victim.write_text("root's own\n")
    daemon.log_dir.mkdir()
    (daemon.log_dir / "comfyui_instance_0.log").symlink_to(victim)
    await daemon.start()
    started = await daemon.api.start(0, daemon.ports.reserve())
    troubles = await until_async(daemon.api.troubles)
    shown = await daemon.api.ask("GET", f"{API}/instances/0/logs")
    removed = await daemon.api.ask("DELETE", f"{API}/instances/0")
    await daemon.api.until_well()

    assert (started.status, shown.status, removed.status) == (200, 500, 200)
    assert victim.read_text() == "root's own\n"
    assert "it is a link" in troubles[0]
    assert "it is a link" in shown.detail
