"""What ComfyUI, torch and Python write when they die, and what that means: data for `diagnosis`.

Each line here has a log in tests/unit/comfyui/last_words.py, as the programs really write it.
"""

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Pattern:
    """A line that tells why; the named groups of `line` fill the places in `message`."""

    reason: str
    line: re.Pattern[str]
    message: str
    hint: str


def _pattern(reason: str, line: str, message: str, hint: str) -> Pattern:
    return Pattern(reason, re.compile(line), message, hint)


_LESS_VRAM = "use --lowvram, smaller images or batches, or a GPU that nobody else uses"
_LESS_RAM = "give the container more memory, or run fewer instances or smaller models"
_DRIVER = "start the container with its GPUs (docker run --gpus all), or pass --cpu"
_TORCH = "install a torch for this GPU into the environment's venv, or pass --cpu"
_ARGUMENTS = "correct extra_args"
_MODULE = "install it into the environment's venv"
_PORT = "choose another port, or end the process that has it"
_DISK = "make room on the disk of the workspace"

# For each line the first that fits counts: the special before the general.
PATTERNS = (
    _pattern(
        "cuda_out_of_memory",
        r"(?:CUDA|HIP|XPU) out of memory\. Tried to allocate (?P<size>[\d.]+ \w+)",
        "the GPU ran out of memory when {size} more were asked for",
        _LESS_VRAM,
    ),
    _pattern(
        "cuda_out_of_memory",
        r"\bOutOfMemoryError\b|(?:CUDA|HIP) error: out of memory|CUBLAS_STATUS_ALLOC_FAILED"
        r"|cuda failed with error 2 out of memory",
        "the GPU ran out of memory",
        _LESS_VRAM,
    ),
    _pattern(
        "host_out_of_memory",
        r"DefaultCPUAllocator: .*you tried to allocate (?P<size>\d+) bytes",
        "the machine ran out of memory when {size} bytes more were asked for",
        _LESS_RAM,
    ),
    _pattern(
        "host_out_of_memory",
        r"^(?:[\w.]+\.)?(?:_Array)?MemoryError\b|\[Errno 12\]|std::bad_alloc",
        "the machine ran out of memory",
        _LESS_RAM,
    ),
    _pattern(
        "port_in_use",
        r"\[Errno 98\].* bind on address \('[^']*', (?P<port>\d+)",
        "port {port} was taken when ComfyUI opened it",
        _PORT,
    ),
    _pattern("port_in_use", r"\[Errno 98\]", "a port that it opens was taken", _PORT),
    _pattern(
        "missing_driver",
        r"(?P<what>Found no NVIDIA driver|No (?:CUDA|HIP) GPUs are available"
        r"|driver on your system is too old|CUDA driver version is insufficient"
        r"|CUDA driver initialization failed|CUDA unknown error"
        r"|unsupported display driver|libcuda\.so[.\d]*: cannot open)",
        "ComfyUI found no GPU that it can use ({what})",
        _DRIVER,
    ),
    _pattern(
        "torch_without_cuda",
        r"Torch not compiled with CUDA enabled",
        "the torch of this environment was built without CUDA",
        _TORCH,
    ),
    _pattern(
        "torch_without_cuda",
        r"no kernel image is available for execution on the device",
        "the torch of this environment was not built for this GPU",
        _TORCH,
    ),
    _pattern(
        "missing_module",
        r"ModuleNotFoundError: No module named '(?P<module>[^']+)'",
        "the Python module {module!r} is missing",
        _MODULE,
    ),
    _pattern(
        "missing_module",
        r"ImportError: (?P<library>[\w.+-]+\.so[.\d]*): cannot open shared object file",
        "the system library {library!r} is missing",
        "install the package of the system that has it",
    ),
    _pattern(
        "unknown_argument",
        r"error: unrecognized arguments: (?P<arguments>.+)",
        "ComfyUI does not know the arguments: {arguments}",
        _ARGUMENTS,
    ),
    _pattern(
        "unknown_argument",
        r"^main\.py: error: (?P<what>.+)",
        "ComfyUI refused its arguments: {what}",
        _ARGUMENTS,
    ),
    _pattern(
        "disk_full",
        r"\[Errno 28\]|\[Errno 122\]|database or disk is full|No space left on device"
        r"|code: 28, kind: StorageFull",
        "the disk is full, or a quota is used up",
        _DISK,
    ),
    _pattern(
        "segmentation_fault",
        r"^Fatal Python error: (?:Segmentation fault|Bus error)",
        "it crashed in native code",
        "look at the last lines for the library; update or disable the custom node that uses it",
    ),
    _pattern(
        "exit",
        r"ASSETS_STARTUP_FAILED: (?P<kind>\w+)",
        "its asset database could not be opened ({kind})",
        "the last lines say what to do, or pass --disable-assets",
    ),
)

SIGNALS = {
    "SIGSEGV": (
        "segmentation_fault",
        "it crashed in native code (SIGSEGV)",
        "look at the last lines for the library; update or disable the custom node that uses it",
    ),
    "SIGBUS": (
        "signal",
        "it was ended by SIGBUS",
        "the disk of a mapped file or /dev/shm is full (docker run --shm-size)",
    ),
    "SIGILL": (
        "signal",
        "it was ended by SIGILL",
        "a library was built for another processor: install one for this machine",
    ),
    "SIGKILL": (
        "signal",
        "it was ended by SIGKILL",
        "if nobody killed it, the machine ran out of memory: see the kernel's log on the host",
    ),
}
"""By the name of a signal: reason, message and hint, where there is more to say than the name."""

SURVIVED = re.compile(
    r"got prompt|Prompt executed in|Starting server|To see the GUI go to"
    r"|(?:Import|Prestartup) times for custom nodes|\(IMPORT FAILED\)|Cannot import "
    r"|Failed to execute startup-script|ComfyUI version: |Requested to load "
)
"""Lines that ComfyUI writes when it goes on: what stands before them did not end it."""
