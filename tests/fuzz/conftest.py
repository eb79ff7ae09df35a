"""A daemon that receives random requests, and its invariants afterwards."""

from collections.abc import AsyncIterator

import pytest

from tests.fuzz.bodies import CANARY, PRESENT
from tests.scenarios import kernel
from tests.scenarios.harness import Daemon
from tests.scenarios.programs import Program

GROWTH = 48 << 20
"""Bytes that a daemon may be larger afterwards: bodies of megabytes were in its memory, but none
stays there, however many there were."""

TOLD = {"instances_file.mistaken", "reload.failed"}
"""What strangers may bring about that is an error to whoever reads the log."""


@pytest.fixture
async def besieged() -> AsyncIterator[Daemon]:
    """A daemon with one environment whose program records each start."""
    daemon = Daemon()
    program = Program(daemon.workspace, PRESENT, "say started")
    try:
        await daemon.start(
            variables={"COMFYUI_ENVIRONMENT": "absent", "COMFYSUP_ALLOWED_HOSTS": ""},
            body_timeout=0.1,
            idle_timeout=0.2,
        )
        before = kernel.resident_bytes(daemon.pid)
        yield daemon
        assert (await daemon.api.ask("GET", "/livez")).status == 200
        assert await daemon.api.show_all() == []
        assert not daemon.processes()
        assert program.said("started") == []
        assert list(daemon.root.rglob(f"*{CANARY}*")) == []
        grown = kernel.resident_bytes(daemon.pid) - before
        print(f"grown by {grown >> 10} kB")  # noqa: T201 - what a long run is for
        assert grown < GROWTH
        assert {line["event"] for line in daemon.log() if line.get("level") == "error"} <= TOLD
    finally:
        await daemon.close()
