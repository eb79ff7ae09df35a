"""The start of `comfysup` and its error handling."""

import os
import signal
import subprocess
import sys
from pathlib import Path

INTERRUPTED_IMPORT = """
import os, signal
os.kill(os.getpid(), signal.SIGINT)
"""


def test_ctrl_c_during_the_imports_prints_no_traceback(tmp_path: Path) -> None:
    """An import of the command line interrupts itself, as somebody at the terminal would."""
    (tmp_path / "click.py").write_text(INTERRUPTED_IMPORT)
    environ = {**os.environ, "PYTHONPATH": str(tmp_path)}
    code = "import sys; sys.argv = ['comfysup', 'status']; from comfysup.cli import main; main()"

    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environ,
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )

    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")
