"""Why a process could not be created: reason, message and hint of each error."""

import errno
from typing import Final

from comfysup.comfyui.diagnosis.patterns.pattern import DISK, PORT
from comfysup.linux.executor import UnresponsiveError
from comfysup.linux.process.pidfd import is_exhaustion
from comfysup.supervision.protocols import LaunchError, RefusedError

DESCRIPTORS: Final = "raise the limit of comfysup (docker run --ulimit nofile=65536)"
MOUNT: Final = "repair or unmount the volume of the environment, or repair the GPU driver"
GPU_DRIVER: Final = "see the kernel's log (dmesg) on the host; select a GPU by number meanwhile"
PROCESSES: Final = "raise the limit (docker run --pids-limit, --ulimit nproc)"
MEMORY: Final = "free memory, or give the container more"
INTERPRETER: Final = "create the venv again, on a volume that is not mounted noexec"
ENVIRONMENT: Final = "repair the environment; `comfysup env check` names what is missing"
GPU: Final = "select a GPU that the driver knows, or none"

_DISK_FULL = {errno.ENOSPC, errno.EDQUOT}
_HINTS = {
    errno.EAGAIN: PROCESSES,
    errno.EMFILE: DESCRIPTORS,
    errno.ENFILE: DESCRIPTORS,
    errno.ENOMEM: MEMORY,
    errno.ENOENT: INTERPRETER,
    errno.EACCES: INTERPRETER,
    errno.ENOEXEC: INTERPRETER,
    errno.E2BIG: "shorten `env` and `extra_args`",
}


def from_shortage(shortage: str) -> LaunchError:
    """Return the error for a launch that would leave the daemon too few descriptors."""
    return LaunchError("too_many_files", _sentence(shortage), DESCRIPTORS, transient=True)


def from_timeout(seconds: float) -> LaunchError:
    """Return the error for a launch that did not end within its deadline."""
    message = f"the environment and the GPU driver together have not answered for {seconds:g} s"
    return LaunchError("environment_unresponsive", _sentence(message), MOUNT, transient=True)


def from_driver(error: UnresponsiveError) -> LaunchError:
    """Return the error for a GPU driver that did not respond when a GPU was to be chosen."""
    message = f"cannot choose a GPU: {error}"
    return LaunchError("gpu_unresponsive", message, GPU_DRIVER, transient=True)


def from_port(holder: str) -> LaunchError:
    """Return the error for a port that another program holds; `holder` is the sentence."""
    return LaunchError("port_in_use", holder, PORT)


def from_refusal(error: RefusedError) -> LaunchError:
    """Return the error for an environment or GPU that cannot be used any more."""
    hint = GPU if error.code == "unknown_gpu" else ENVIRONMENT
    return LaunchError("environment_unusable", str(error), hint)


def from_os_error(error: OSError) -> LaunchError:
    """Return the error for a failed system call, or for a resource that did not respond."""
    message = _sentence(error)
    if isinstance(error, UnresponsiveError):
        return LaunchError("environment_unresponsive", message, MOUNT, transient=True)
    if error.errno in _DISK_FULL:
        return LaunchError("disk_full", message, DISK, transient=True)
    transient = is_exhaustion(error) or error.errno == errno.EAGAIN  # fork(2): too many processes
    hint = _HINTS.get(error.errno or 0, "")
    return LaunchError("spawn_failed", message, hint, transient=transient)


def _sentence(cause: object) -> str:
    return f"cannot start the process: {cause}"
