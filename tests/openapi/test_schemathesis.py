"""schemathesis sends what the document permits, and what it forbids, to a running daemon."""

import asyncio
from pathlib import Path

from tests.scenarios.harness import Daemon

LEFT_OUT = "/(events|logs)$|/daemon/restart$"
"""Streams that do not end, and the restart of the daemon, which would interrupt other requests."""

NOT_IN_A_SCHEMA = "positive_data_acceptance,negative_data_rejection"
"""A schema cannot state that two instances of one request must not have the same port. And it
does not state that numbers and booleans may be text, as the clients of the old service sent them.
"""


async def test_every_answer_is_described_and_no_request_breaks_the_daemon(
    served: Daemon, tools: Path, tmp_path: Path
) -> None:
    url = f"http://127.0.0.1:{served.port}"
    answer = await served.api.start(0, served.ports.reserve())
    assert answer.status == 200

    checking = await asyncio.create_subprocess_exec(
        tools / "schemathesis",
        *("run", f"{url}/openapi.json", "--max-examples", "25", "--request-timeout", "120"),
        *("--exclude-path-regex", LEFT_OUT, "--exclude-checks", NOT_IN_A_SCHEMA),
        *("--seed", "1", "--no-color"),
        cwd=tmp_path,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    report, _ = await checking.communicate()

    assert checking.returncode == 0, report.decode()
    assert (await served.api.ask("GET", "/livez")).status == 200
