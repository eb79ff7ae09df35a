"""Executes a program in a sandbox that refuses pidfd_open(2), as some seccomp profiles do.

Usage: no_pidfds.py PROGRAM [ARGUMENT...]
"""

import ctypes
import errno
import os
import struct
import sys

PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS = 22, 38
SECCOMP_MODE_FILTER = 2
PIDFD_OPEN = 434  # on every architecture
LOAD, JUMP_IF_EQUAL, RETURN = 0x20, 0x15, 0x06
ALLOW, FAIL = 0x7FFF0000, 0x00050000


class Filter(ctypes.Structure):
    """`struct sock_fprog` of linux/filter.h."""

    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_void_p))


def refuse_pidfds() -> None:
    """Make pidfd_open fail with EPERM in this process and its descendants."""
    instructions = b"".join(
        struct.pack("HBBI", *each)
        for each in (
            (LOAD, 0, 0, 0),
            (JUMP_IF_EQUAL, 0, 1, PIDFD_OPEN),
            (RETURN, 0, 0, FAIL | errno.EPERM),
            (RETURN, 0, 0, ALLOW),
        )
    )
    buffer = ctypes.create_string_buffer(instructions)
    program = Filter(len(instructions) // 8, ctypes.cast(buffer, ctypes.c_void_p))
    libc = ctypes.CDLL(None, use_errno=True)
    for call in (
        (PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0),
        (PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(program), 0, 0),
    ):
        if libc.prctl(*call) != 0:
            raise OSError(ctypes.get_errno(), "prctl failed")


if __name__ == "__main__":
    refuse_pidfds()
    os.execvp(sys.argv[1], sys.argv[1:])  # noqa: S606 - the program of the caller
