"""openapi-python-client makes a typed client, by which an instance is started and stopped."""

import asyncio
import os
from pathlib import Path

from tests.scenarios.harness import Daemon

DRIVE = Path(__file__).with_name("drive.py")


async def run(*command: str | Path, **environ: str) -> str:
    process = await asyncio.create_subprocess_exec(
        *command,
        env={**os.environ, **environ},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()
    return output.decode()


async def test_a_generated_client_starts_watches_and_stops_an_instance(
    served: Daemon, tools: Path, tmp_path: Path
) -> None:
    url = f"http://127.0.0.1:{served.port}"
    client = tmp_path / "comfysup_client"
    made = await run(
        tools / "openapi-python-client",
        *("generate", "--url", f"{url}/openapi.json", "--meta", "none"),
        *("--output-path", client),
        PATH=f"{tools}:{os.environ['PATH']}",
    )
    assert "WARNING" not in made.upper(), made

    said = await run(
        tools / "python", DRIVE, url, str(served.ports.reserve()), PYTHONPATH=str(tmp_path)
    )

    assert said.splitlines() == [
        "started ['started']",
        "running True True UTC",
        "error unknown_instance",
        "stopped stopped None",
        "table [7]",
    ]
