import signal
import subprocess
import sys
from pathlib import Path

import pytest

from comfysup.demo.misbehaviour import Block, Flood, Later, Misbehaviour

# Adopts every orphan of what it starts, and prints their exit codes.
REAPER = """
import ctypes, os, subprocess, sys
ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)
codes = []
os.posix_spawn(sys.argv[1], [sys.argv[1], "main.py"], os.environ)
try:
    while True:
        codes.append(os.waitstatus_to_exitcode(os.wait()[1]))
except ChildProcessError:
    print(sorted(codes))
"""


def test_variables_without_the_prefix_are_ignored() -> None:
    assert Misbehaviour() == Misbehaviour.read({"PATH": "/bin", "COMFYSUP_PORT": "1"})


def test_every_notation_of_a_value_is_parsed() -> None:
    read = Misbehaviour.read(
        {
            "STANDIN_EXIT_AFTER": "0.2:3",
            "STANDIN_EXIT_AFTER_READY": "1:SIGKILL",
            "STANDIN_EXIT_AT_START": "reboot",
            "STANDIN_FLOOD": "10",
            "STANDIN_BLOCK_LOOP": "2@0.5",
            "STANDIN_IGNORE": "INT,SIGTERM",
            "STANDIN_NEVER_READY": "0",
        }
    )

    assert read == Misbehaviour(
        exit_after=Later(0.2, 3),
        exit_after_ready=Later(1, signal.SIGKILL),
        exit_at_start="reboot",
        flood=Flood(10),
        block_loop=Block(2, 0.5),
        ignore=(signal.SIGINT, signal.SIGTERM),
    )
    assert Misbehaviour.read({"STANDIN_FLOOD": "9:100:20"}).flood == Flood(9, 100, 20)


@pytest.mark.parametrize(
    ("name", "value"), [("EXIT_AFTER", "soon"), ("IGNORE", "NOPE"), ("ORPHANS", "x")]
)
def test_an_invalid_value_is_reported_by_name(name: str, value: str) -> None:
    with pytest.raises(SystemExit, match=f"STANDIN_{name}='{value}'"):
        Misbehaviour.read({f"STANDIN_{name}": value})


def test_orphans_fall_to_the_reaper_with_their_codes(environment: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", REAPER, "venv/bin/python"],
        cwd=environment,
        env={"STANDIN_ORPHANS": "20", "STANDIN_EXIT_AT_START": "99"},
        capture_output=True,
        check=True,
        text=True,
    )

    assert done.stdout.strip() == str([*range(20), 99])


def test_an_early_exit_does_not_import_the_server() -> None:
    check = "import sys, comfysup.demo; sys.exit('aiohttp' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0
