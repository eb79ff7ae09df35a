"""A process that SIGKILL does not end, on any machine and without rights that a test lacks.

Who is traced with PTRACE_O_TRACEEXIT stops on its way out, with all its memory, descriptors and
ports, until its tracer lets it go (ptrace(2), PTRACE_EVENT_EXIT); the kernel drops further
SIGKILLs meanwhile. For who looks from outside that is a process that hangs in a driver.
"""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

# Traces until its input ends, as it does when the test is gone, however that went.
_TRACER = """
import ctypes, os, sys
PTRACE_SEIZE, PTRACE_O_TRACEEXIT = 0x4206, 0x40
libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p]
if libc.ptrace(PTRACE_SEIZE, int(sys.argv[1]), None, PTRACE_O_TRACEEXIT) != 0:
    sys.exit(os.strerror(ctypes.get_errno()))
print("traced", flush=True)
sys.stdin.read()
"""


@asynccontextmanager
async def unkillable(pid: int) -> AsyncIterator[None]:
    """Make a process unkillable for the block; afterwards it dies of the signals sent to it."""
    tracer = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", _TRACER, str(pid)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        assert tracer.stdout is not None
        assert tracer.stderr is not None
        if not await tracer.stdout.readline():
            pytest.skip(f"cannot trace here: {(await tracer.stderr.read()).decode()}")
        yield
    finally:
        await tracer.communicate(b"")  # ends its input
