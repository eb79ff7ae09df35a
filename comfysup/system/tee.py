"""Looking into a pipe without taking anything out of it: tee(2), which `os` does not have."""

import ctypes
import os

SPLICE_F_NONBLOCK = 2

_libc = ctypes.CDLL(None, use_errno=True)
_libc.tee.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_size_t, ctypes.c_uint)
_libc.tee.restype = ctypes.c_ssize_t


class Peephole:
    """A pipe into which what waits in another is duplicated; it is empty between two looks."""

    def __init__(self) -> None:
        self._reader, self._writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)

    def peek(self, pipe: int, count: int) -> bytes:
        """Return up to `count` of the bytes that wait in a pipe, which keeps them.

        Empty when no writer is left; raises BlockingIOError when nothing waits.
        """
        copied = _libc.tee(pipe, self._writer, count, SPLICE_F_NONBLOCK)
        if copied < 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
        return os.read(self._reader, copied) if copied else b""

    def close(self) -> None:
        os.close(self._reader)
        os.close(self._writer)
