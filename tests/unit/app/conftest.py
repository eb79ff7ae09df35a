import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from signal import SIGKILL

import pytest

from tests.unit.app.recovering import SLEEP, Launch


@pytest.fixture
def word() -> str:
    """An identity that is unique to the test."""
    return os.urandom(8).hex()


@pytest.fixture
def launch(tmp_path: Path, word: str) -> Iterator[Launch]:
    """Start a process that looks like an instance, with that marker after the identity."""
    directory = tmp_path / "ComfyUI-comm"
    directory.mkdir()
    main = directory / "main.py"
    main.write_text(SLEEP)
    made: list[subprocess.Popen[bytes]] = []

    def start(
        marker: str, *arguments: str, cwd: Path = directory, identity: str = word
    ) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [sys.executable, str(main), *arguments],
            cwd=cwd,
            env={"COMFYSUP_MARKER": f"{identity}:{marker}"},
            start_new_session=True,
        )
        made.append(process)
        return process

    yield start
    for each in made:
        with suppress(ProcessLookupError):
            os.killpg(each.pid, SIGKILL)
        each.wait()
