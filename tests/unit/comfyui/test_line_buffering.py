"""The `sitecustomize` that enables line buffering, in real Pythons."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from comfysup.comfyui.command import LINE_BUFFERED

# As ComfyUI does: streams wrapped anew, which take line buffering over from those there were.
COMFYUI = """
import io, os, sys
sys.stdout = io.TextIOWrapper(sys.stdout.buffer, line_buffering=sys.stdout.line_buffering)
sys.stderr = io.TextIOWrapper(sys.stderr.buffer, line_buffering=sys.stderr.line_buffering)
"""


def run(
    script: str, environment: dict[str, str] | None = None, path: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run a script as an instance is run; nothing is written into its Python's directories."""
    python_path = f"{LINE_BUFFERED}:{path}" if path else str(LINE_BUFFERED)
    return subprocess.run(
        [sys.executable, "-c", script],
        env={"PATH": os.defpath, "PYTHONPATH": python_path} | (environment or {}),
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("environment", [{}, {"PYTHONUNBUFFERED": "1"}])
def test_a_printed_line_survives_an_exit_without_a_flush(
    environment: dict[str, str],
) -> None:
    ended = run(f"{COMFYUI}print('out'); print('err', file=sys.stderr); os._exit(3)", environment)

    assert (ended.returncode, ended.stdout, ended.stderr) == (3, "out\n", "err\n")


def test_neither_the_program_nor_its_children_see_the_directory() -> None:
    child = (
        "import os, sys; print(os.environ.get('PYTHONPATH'), [p for p in sys.path if 'line_' in p])"
    )
    ended = run(
        f"import subprocess, sys\n{child}\nsubprocess.run([sys.executable, '-c', {child!r}])"
    )

    assert ended.stdout == "None []\n" * 2


def test_another_python_path_stays(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("name = 'mine'")
    script = "import mine, os; print(mine.name, os.environ['PYTHONPATH'])"

    assert run(script, path=str(tmp_path)).stdout == f"mine {tmp_path}\n"


def test_the_existing_sitecustomize_is_imported(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("import sys; sys.hello = __file__")
    script = "import sys, sitecustomize; print(sys.hello, sitecustomize.__file__)"
    theirs = tmp_path / "sitecustomize.py"

    assert run(script, path=str(tmp_path)).stdout == f"{theirs} {theirs}\n"


def test_an_error_in_the_existing_sitecustomize_is_reported_and_not_fatal(
    tmp_path: Path,
) -> None:
    (tmp_path / "sitecustomize.py").write_text("import not_there")
    ended = run("print('goes on')", path=str(tmp_path))

    assert (ended.returncode, ended.stdout) == (0, "goes on\n")
    assert "Error in sitecustomize" in ended.stderr
    assert "not_there" in ended.stderr


def test_without_another_sitecustomize_nothing_is_printed() -> None:
    ended = run("import sitecustomize; print('fine')")

    assert (ended.stdout, ended.stderr) == ("fine\n", "")


def test_closed_streams_end_nothing() -> None:
    ended = subprocess.run(
        ["/bin/sh", "-c", f"exec {sys.executable} -c 'raise SystemExit(7)' >&- 2>&-"],
        env={"PYTHONPATH": str(LINE_BUFFERED)},
        check=False,
    )

    assert ended.returncode == 7
