"""Reading files of an environment, in whose place anything may stand: a FIFO, a device."""

import errno
import os
import stat
from pathlib import Path

MAX_BYTES = 4 << 20


def read_small(path: Path, most: int = MAX_BYTES) -> bytes:
    """Return what a file holds, without waiting for anybody; raises OSError.

    Also for what is no ordinary file, or larger than `most` bytes.
    """
    file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        status = os.fstat(file)
        if stat.S_ISDIR(status.st_mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "it is not a file")
        if status.st_size > most:
            raise OSError(errno.EFBIG, f"it is larger than {most} bytes")
        return os.read(file, most)
    finally:
        os.close(file)
