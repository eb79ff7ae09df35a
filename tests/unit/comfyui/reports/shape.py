"""Ends of logs as in public reports, each with its correct reason.

`source` names the report, or the program whose source has the text. Texts are cut to what matters,
and paths, addresses and names are made up. `main` puts an exception behind the frames that an
exception has which nothing in ComfyUI caught.
"""

from dataclasses import dataclass

from tests.unit.comfyui.last_words import START


@dataclass(frozen=True)
class Report:
    """`ended` is an exit code or the name of a signal; `says` is part of the message or hint."""

    name: str
    source: str
    log: str
    ended: int | str
    reason: str
    says: tuple[str, ...] = ()
    never_says: tuple[str, ...] = ()


def main(exception: str, frames: str = "") -> str:
    """Return the traceback that ends `main.py`, after what ComfyUI writes first."""
    return (
        f"{START}Traceback (most recent call last):\n"
        '  File "/workspace/ComfyUI-comm/main.py", line 149, in <module>\n'
        f"    import execution\n{frames}{exception}\n"
    )


def caught(exception: str, node: str = "ComfyUI-Alpha") -> str:
    """Return the traceback that a custom node prints of an error that it caught."""
    return (
        "Traceback (most recent call last):\n"
        f'  File "/workspace/ComfyUI-comm/custom_nodes/{node}/__init__.py", line 10, in <module>\n'
        f"    import something\n{exception}\n"
    )


BAR = " 12%|███████▋        | 1/8 [01:03<07:26, 63.75s/it,  Model Initialization complete!  ]"
ADVICE = """\
Search for `cudaErrorIllegalAddress' in https://docs.nvidia.com/cuda/ for more information.
CUDA kernel errors might be asynchronously reported at some other API call, so the stacktrace \
below might be incorrect.
For debugging consider passing CUDA_LAUNCH_BLOCKING=1
Compile with `TORCH_USE_CUDA_DSA` to enable device-side assertions.
"""
FRAMES = """
Exception raised from free_impl at /pytorch/c10/cuda/CUDAMallocAsyncAllocator.cpp:206 (most \
recent call first):
frame #0: c10::Error::Error(c10::SourceLocation, std::string) + 0x9d (0x7f in libc10.so)
frame #1: <unknown function> + 0x1fa3 (0x7f0 in /lib/libtorch_cuda.so)
"""
ABORTED = """
Fatal Python error: Aborted

Stack (most recent call first):
  File "/workspace/ComfyUI-comm/comfy/ldm/model.py", line 12 in forward
"""
C_STACK = """\
Failed to write segment data to pipe: Success
GPU coredump: handler exited with error (status: 1)
GPU core dump failed
Fatal Python error: Aborted


Current thread's C stack trace (most recent call first):
  Binary file "/usr/lib/libpython3.14.so.1.0", at _Py_DumpStack+0x4d [0x7fad08767a88]
  Binary file "/usr/lib/libc.so.6", at gsignal+0x20 [0x7fad0823e7d0]
"""
NUMPY = """
A module that was compiled using NumPy 1.x cannot be run in
NumPy 2.2.6 as it may crash. To support both 1.x and 2.x
versions of NumPy, modules must be compiled with NumPy 2.0.

Traceback (most recent call last):  File "/workspace/ComfyUI-comm/main.py", line 363, in <module>
    event_loop, _, start_all_func = start_comfyui()
  File "/workspace/ComfyUI-comm/custom_nodes/layers/imagefunc.py", line 22, in <module>
    import cv2
AttributeError: _ARRAY_API not found
"""
USAGE = """\
usage: main.py [-h] [--port PORT] [--pycmd PYCMD] [--colab] [--noparallel]
               [--noautoopen] [--dml]
"""
IN_USE = main(
    "OSError: [Errno 98] error while attempting to bind on address ('0.0.0.0', 3001): "
    "address already in use"
)
