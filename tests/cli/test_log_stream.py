"""The daemon's own log, and readers that do not read it."""

import os
import subprocess
import sys
from pathlib import Path

SCRIPT = """
import sys
from comfysup.cli.log_format import LogStream
stream = LogStream()
for number in range(3_000):
    stream.write(f"{number:099}\\n")
print("written", flush=True)
sys.stdin.readline()
stream.write("after\\n")
"""


def test_a_stopped_reader_of_the_daemon_log_blocks_nothing_and_learns_of_missed_lines() -> None:
    reader, writer = os.pipe()
    with subprocess.Popen(
        [sys.executable, "-c", SCRIPT],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=writer,
        text=True,
    ) as process:
        os.close(writer)
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdout.readline()  # held up, it would never say so
        with os.fdopen(reader, encoding="ascii") as log:
            begun = [log.readline() for _ in range(100)]
            process.stdin.write("\n")
            process.stdin.flush()
            rest = log.readlines()

    assert begun == [f"{number:099}\n" for number in range(100)]
    assert rest[-1] == "after\n"
    assert '"log.lost"' in rest[-2]


def test_a_closed_pipe_and_a_full_disk_raise_nothing(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    for stderr in (writer, os.open("/dev/full", os.O_WRONLY)):
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT],
            input="\n",
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            check=False,
            cwd=tmp_path,
        )
        os.close(stderr)

        assert done.returncode == 0
