"""Final messages of ComfyUI, torch and Python, and their meaning: data for `diagnosis`.

Each pattern has a real log in tests/unit/comfyui/. A pattern is matched only against the sentence
that ended the process, so it need not distinguish that from other output.
"""

from comfysup.comfyui.diagnosis.patterns.files import FILES
from comfysup.comfyui.diagnosis.patterns.hardware import HARDWARE
from comfysup.comfyui.diagnosis.patterns.network import NETWORK
from comfysup.comfyui.diagnosis.patterns.pattern import NATIVE
from comfysup.comfyui.diagnosis.patterns.program import PROGRAM
from comfysup.comfyui.diagnosis.patterns.software import SOFTWARE

PATTERNS = (*HARDWARE, *NETWORK, *FILES, *SOFTWARE, *PROGRAM)
"""For each line the first that fits counts: the special before the general."""

PERMANENT = frozenset({"unknown_argument", "wrong_python"})
"""Reasons for which another start with the same command ends in the same way."""

SIGNALS = {
    "SIGSEGV": (
        "segmentation_fault",
        "crashed in native code (SIGSEGV)",
        NATIVE,
    ),
    "SIGBUS": (
        "signal",
        "terminated by SIGBUS",
        "the disk of a mapped file or /dev/shm is full (--shm-size), or its network failed",
    ),
    "SIGILL": (
        "signal",
        "terminated by SIGILL",
        "a library was built for another processor: install one for this machine",
    ),
    **{
        name: ("signal", f"terminated by {name}", "a process outside comfysup sent the signal")
        for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT")
    },
    "SIGFPE": ("signal", "terminated by SIGFPE", NATIVE),
    "SIGTRAP": ("signal", "terminated by SIGTRAP", NATIVE),
    "SIGSYS": (
        "signal",
        "terminated by SIGSYS",
        "the container's seccomp profile blocks a system call that a library makes",
    ),
    "SIGXFSZ": (
        "signal",
        "terminated by SIGXFSZ",
        "a file grew beyond the limit (docker run --ulimit fsize)",
    ),
    "SIGKILL": (
        "signal",
        "terminated by SIGKILL",
        "unless another program killed it, the host ran out of memory: see the host's kernel log",
    ),
}
"""Reason, message and hint by signal name, for signals that need an explanation."""

ABORT = ("native_crash", "aborted in native code (SIGABRT)", NATIVE)
"""For a process that called abort(3) without a matching pattern."""
