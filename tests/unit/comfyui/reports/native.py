"""Exhausted memory, and aborts of native code."""

from tests.unit.comfyui.last_words import RUNNING, START
from tests.unit.comfyui.reports.shape import Report, caught, main

NATIVE = [
    # ---- memory
    Report(
        "an Arc without memory",
        "Comfy-Org/ComfyUI#9128",
        main(
            "torch.OutOfMemoryError: XPU out of memory. Tried to allocate 128.00 GiB. GPU 0 has a "
            "total capacity of 15.56 GiB. Of the allocated memory 2.50 GiB is allocated by PyTorch."
        ),
        1,
        "cuda_out_of_memory",
        ("128.00 GiB",),
    ),
    Report(
        "an Arc without resources",
        "pytorch/pytorch#190972",
        main(
            "RuntimeError: level_zero backend failed with error: 40 "
            "(UR_RESULT_ERROR_OUT_OF_RESOURCES)"
        ),
        1,
        "cuda_out_of_memory",
    ),
    Report(
        "a Mac without memory",
        "Comfy-Org/ComfyUI#2489",
        main(
            "RuntimeError: MPS backend out of memory (MPS allocated: 5.56 GB, other allocations: "
            "1.10 GB, max allowed: 6.80 GB). Tried to allocate 768.00 MB on private pool. Use "
            "PYTORCH_MPS_HIGH_WATERMARK_RATIO=0.0 to disable upper limit for memory allocations."
        ),
        1,
        "cuda_out_of_memory",
        ("768.00 MB",),
    ),
    Report(
        "a model that cannot be mapped",
        "Comfy-Org/ComfyUI#5647",
        main(
            "RuntimeError: unable to mmap 23802932552 bytes from file "
            "<ComfyUI/models/unet/flux1-dev.safetensors>: Cannot allocate memory (12)"
        ),
        1,
        "host_out_of_memory",
        ("flux1-dev.safetensors",),
    ),
    Report(
        "an allocation of Rust that failed",
        "rust-lang/rust: library/std/src/alloc.rs",
        f"{RUNNING}memory allocation of 4294967296 bytes failed\n",
        "SIGABRT",
        "host_out_of_memory",
    ),
    # ---- crashes
    Report(
        "a chunk that was never allocated",
        "openvinotoolkit/stable-diffusion-webui#71",
        f"{RUNNING}munmap_chunk(): invalid pointer\n",
        "SIGABRT",
        "native_crash",
        ("munmap_chunk(): invalid pointer",),
    ),
    Report(
        "a double free",
        "openvinotoolkit/stable-diffusion-webui#71",
        f"{RUNNING}double free or corruption (out)\nAborted (core dumped)\n",
        134,
        "native_crash",
        ("double free or corruption (out)",),
        ("core dumped",),
    ),
    Report(
        "a heap that is corrupted",
        "ageitgey/face_recognition#1452",
        caught("ImportError: no onnx")
        + f"{RUNNING}corrupted size vs. prev_size while consolidating\n",
        "SIGABRT",
        "native_crash",
        ("corrupted size vs. prev_size while consolidating",),
        ("onnx",),
    ),
    Report(
        "a pointer that tcmalloc does not know",
        "CMU-Perceptual-Computing-Lab/openpose#2178",
        f"{RUNNING}src/tcmalloc.cc:333] Attempt to free invalid pointer 0x600000e10800 \n",
        "SIGABRT",
        "native_crash",
        ("Attempt to free invalid pointer",),
    ),
    Report(
        "an assertion of a compiler",
        "triton-lang/triton: lib/Analysis",
        f"{RUNNING}python: /root/triton/lib/Conversion/Util.cpp:107: void f(): "
        "Assertion `!isa<A>(x)' failed.\n",
        "SIGABRT",
        "native_crash",
        ("Assertion `!isa<A>(x)' failed",),
    ),
    Report(
        "an error of LLVM",
        "llvm/llvm-project: Support/ErrorHandling.cpp",
        f"{RUNNING}LLVM ERROR: Cannot select: intrinsic %llvm.nvvm.shfl.sync.bfly.i32\n",
        "SIGABRT",
        "native_crash",
        ("LLVM ERROR: Cannot select",),
    ),
    Report(
        "threads that were not joined",
        "gcc: libsupc++/vterminate.cc",
        f"{RUNNING}{caught('RuntimeError: CUDA out of memory. Tried to allocate 2.00 GiB')}"
        "retrying with tiles\nterminate called without an active exception\n",
        "SIGABRT",
        "native_crash",
        ("terminate called without an active exception",),
        ("memory",),
    ),
    Report(
        "a library of a custom node that survived its own errors first",
        "nunchux-ai/nunchaku#846",
        START
        + "Nodes `A` and `B` import failed:\n"
        + caught(
            "ImportError: libcudart.so.13: cannot open shared object file: No such file", "nunchaku"
        )
        + "Multiple distributions found for package optimum. Picked distribution: optimum\n"
        + "free(): invalid pointer\n",
        "SIGABRT",
        "native_crash",
        ("free(): invalid pointer",),
        ("libcudart",),
    ),
    Report(
        "a crash at an import, with nothing but a warning",
        "Comfy-Org/ComfyUI#5387",
        f"{START}/v/kornia/feature/lightglue.py:44: FutureWarning: `custom_fwd` is deprecated.\n"
        "  @torch.cuda.amp.custom_fwd(cast_inputs=torch.float32)\n",
        "SIGSEGV",
        "segmentation_fault",
    ),
    Report(
        "a crash with a stack that names a custom node",
        "komikndr/raylight#94",
        f"{RUNNING}Fatal Python error: Segmentation fault\n\nStack (most recent call first):\n"
        '  File "/w/venv/lib/python3.10/site-packages/comfy_aimdo/vbar.py", line 50 in __init__\n'
        '  File "/w/custom_nodes/raylight/nodes.py", line 15 in run\n'
        '  File "/w/custom_nodes/other/patch.py", line 7 in execute\n',
        139,
        "segmentation_fault",
        ("'raylight'",),
        ("'other'",),
    ),
    Report(
        "a crash behind the name of a library",
        "chaojie/ComfyUI-Open-Sora#4",
        f"{START}Loading bitsandbytes native library from: /w/libbitsandbytes_hip.so\n",
        139,
        "segmentation_fault",
    ),
]
