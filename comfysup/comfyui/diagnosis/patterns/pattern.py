"""A pattern, and the hints that several of them give."""

import re
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Pattern:
    """A line that explains an end. The groups of `line` and `frame` fill `message`.

    `frame` also requires a traceback frame, as `file:function`, for errors that only their origin
    explains. Frames are tried from the innermost.
    """

    reason: str
    line: re.Pattern[str]
    message: str
    hint: str
    frame: re.Pattern[str] | None = None

    def match(self, line: str, frames: Sequence[str]) -> dict[str, str | None] | None:
        """Return the named groups, or None if the line or frame does not match."""
        found = self.line.search(line)
        if found is None or self.frame is None:
            return None if found is None else found.groupdict()
        for frame in reversed(frames):
            if where := self.frame.search(frame):
                return found.groupdict() | where.groupdict()
        return None


def pattern(
    reason: str, line: str, message: str, hint: str, *, frame: str | None = None
) -> Pattern:
    return Pattern(
        reason, re.compile(line), message, hint, None if frame is None else re.compile(frame)
    )


LESS_VRAM = "use --lowvram, smaller images or batches, or a GPU that no other process uses"
LESS_RAM = "give the container more memory, or run fewer instances or smaller models"
NO_GPUS = "start the container with its GPUs"
DRIVER = f"{NO_GPUS} (docker run --gpus all), or pass --cpu"
ROCM_DRIVER = f"{NO_GPUS} (docker run --device /dev/kfd --device /dev/dri), or pass --cpu"
XPU_DRIVER = f"{NO_GPUS} (docker run --device /dev/dri), or pass --cpu"
OLD_DRIVER = (
    "update the driver of the host, or install a torch for it into the environment's venv, or pass "
    "--cpu"
)
TORCH = "install a torch for this GPU into the environment's venv, or pass --cpu"
ARGUMENTS = "correct extra_args"
OTHER_VERSION = "install the version that the requirements name into the environment's venv"
MODULE = "install it into the environment's venv"
REQUIREMENTS = "install what ComfyUI needs: venv/bin/python -m pip install -r requirements.txt"
PORT = "choose another port, or end the process that has it"
DISK = "make room on the disk of the workspace"
SHARED_MEMORY = "give the container more shared memory (docker run --shm-size 8g)"
ACCESS = "grant the user that runs ComfyUI write access, or mount the volume writable"
OPERATION = (
    "the last log lines name the call; a container may need a capability (--cap-add) or another "
    "seccomp profile for it"
)
TORCH_PACKAGES = "reinstall torch in the environment's venv, with the nvidia packages that it needs"
GPU = (
    "see `nvidia-smi` or `rocm-smi` and the kernel's log (dmesg) on the host; restart the instance"
)
NATIVE = "look at the last lines for the library; update or disable the custom node that uses it"
PYTHON_HINT = "recreate the environment's venv with the Python that it is to run on"
FILE_LIMIT = "raise the limit (docker run --ulimit nofile=65536), or find what opens so many"
DATABASE = "end the process that uses it, or give this instance its own --database-url"
