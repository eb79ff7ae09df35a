"""The programs of the chaos suite: each run numbers its lines and exits at random."""

import sys
from pathlib import Path

from tests.scenarios.programs import SERVE, Program

_MAIN = r"""
import fcntl, os, random, signal, subprocess, sys, time
port = sys.argv[sys.argv.index("--port") + 1]
chance = random.Random(os.urandom(8))
run = time.time_ns()
written = 0
# Held by all that this run starts, until the last of them is gone.
alone = os.open("alone", os.O_RDWR | os.O_CREAT)
os.set_inheritable(alone, True)
try:
    fcntl.flock(alone, fcntl.LOCK_EX | fcntl.LOCK_NB)
except BlockingIOError:
    os.close(os.open("doubled/%d" % run, os.O_WRONLY | os.O_CREAT))
count = os.open("lines/%d" % run, os.O_RDWR | os.O_CREAT)

def write(lines):
    global written
    for _ in range(lines):
        os.write(1, b"run %d line %d\n" % (run, written))
        written += 1
        os.pwrite(count, b"%10d" % written, 0)

kind = chance.random()
write(3)
if kind < 0.15:
    sys.exit(chance.randrange(4))
if chance.random() < 0.3:
    subprocess.Popen(["setsid", "sleep", "3600"], stdin=subprocess.DEVNULL, pass_fds=[alone])
if kind < 0.25:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
if kind < 0.3:
    time.sleep(3600)
child = os.fork()
if child == 0:
    parent = os.getppid()
    while os.getppid() == parent:
        write(chance.choice([1, 5, 200]))
        time.sleep(chance.random() / 10)
    os._exit(0)
if kind < 0.45:
    die_at = time.monotonic() + chance.random() * 2
    signal.setitimer(signal.ITIMER_REAL, chance.random() * 2 + 0.01)
sys.argv[1] = port
exec(open("server.py").read())
"""


def unruly(workspace: Path, number: int) -> Path:
    """An environment whose ComfyUI crashes, hangs and floods; its `lines/` count each run's.

    A run that begins while anything of another one lives leaves a file in `doubled/`.
    """
    program = Program(workspace, f"c{number}", script=SERVE)
    program.python.unlink()
    program.python.symlink_to(sys.executable)
    (program.directory / "main.py").write_text(_MAIN)
    (program.directory / "lines").mkdir()
    (program.directory / "doubled").mkdir()
    return program.directory
