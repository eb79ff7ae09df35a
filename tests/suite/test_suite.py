"""The guarantees of the test suite, by runs of pytest within a test."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
HOOKS = ("signals", "reporting", "examples", "leftovers")


def run(directory: Path, test: str, *wrapper: str) -> tuple[int, str]:
    """Run a file with one test under the hooks of this suite; return its exit code and output."""
    (directory / "test_it.py").write_text(test)
    hooks = [f"-ptests.suite.{name}" for name in HOOKS]
    pytest = (sys.executable, "-m", "pytest", *hooks, "-c", os.devnull, "--rootdir", ".")
    done = subprocess.run(
        [*wrapper, *pytest, "test_it.py"],
        cwd=directory,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


FAILS_AMONG_GARBAGE = """
import ast, gc

def parses_while_it_collects(phase, info):
    gc.callbacks.remove(parses_while_it_collects)
    ast.parse("a = (b + c) * d")
    gc.callbacks.append(parses_while_it_collects)

def test_it():
    gc.callbacks.append(parses_while_it_collects)
    gc.freeze()  # so that it is quick, often as it is
    gc.set_threshold(10)
    assert 1 == 2, "this is the report"
"""


def test_a_failure_prints_its_report_during_any_garbage_collection(tmp_path: Path) -> None:
    code, said = run(tmp_path, FAILS_AMONG_GARBAGE)

    assert code == 1, said
    assert "AssertionError: this is the report" in said
    assert "INTERNALERROR" not in said


LEAVES_SOMETHING = """
import subprocess, tempfile

def test_it():
    subprocess.Popen(["sleep", "3600"], start_new_session=True)
    tempfile.mkdtemp(prefix="forgotten")
    open("rubbish", "w").close()
"""


def test_leftovers_fail_the_run_and_are_named(tmp_path: Path) -> None:
    code, said = run(tmp_path, LEAVES_SOMETHING)

    assert code == 1, said
    assert "(sleep 3600), of test_it.py::test_it (call)" in said
    assert "/forgotten" in said
    assert f"{tmp_path}/rubbish" in said


LEAVES_A_THREAD = """
import subprocess, sys

THREAD = "import threading, time; threading.Thread(target=time.sleep, args=(3600,)).start()"

def test_it():
    dead = f"{THREAD}; print('over', flush=True); import ctypes; ctypes.CDLL(None).pthread_exit(0)"
    started = subprocess.Popen([sys.executable, "-c", dead], stdout=subprocess.PIPE)
    assert started.stdout.readline() == b"over\\n"
"""


def test_a_zombie_leader_with_a_remaining_thread_is_reported(tmp_path: Path) -> None:
    """Such a process is a zombie, like one that hangs in a mount."""
    code, said = run(tmp_path, LEAVES_A_THREAD)

    assert code == 1, said
    assert "of test_it.py::test_it (call)" in said


TELLS_ITS_SIGNALS = """
import signal

def test_it():
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_DFL
"""


def test_a_background_run_receives_signals(tmp_path: Path) -> None:
    code, said = run(tmp_path, TELLS_ITS_SIGNALS, "sh", "-c", 'trap "" INT HUP; exec "$0" "$@"')

    assert code == 0, said


TAKES_ITS_TIME = """
import time
from hypothesis import given, settings, strategies

@settings(max_examples=1)
@given(strategies.none())
def test_it(_: None):
    time.sleep(0.3)
"""


def test_an_example_of_a_property_has_no_deadline(tmp_path: Path) -> None:
    code, said = run(tmp_path, TAKES_ITS_TIME)

    assert code == 0, said


def test_a_clean_run_passes(tmp_path: Path) -> None:
    code, said = run(tmp_path, "def test_it(tmp_path): (tmp_path / 'file').touch()")

    assert code == 0, said
    assert "left behind" not in said
