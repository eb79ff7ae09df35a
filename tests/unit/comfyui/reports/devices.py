"""GPUs in public reports: not found, not usable, failing."""

from tests.unit.comfyui.last_words import RUNNING, START
from tests.unit.comfyui.reports.shape import ABORTED, ADVICE, FRAMES, Report, main

_TORCH = (
    '  File "/workspace/ComfyUI-comm/comfy/model_management.py", line 112, in get_torch_device\n'
    "    return torch.device(torch.cuda.current_device())\n"
    '  File "/w/venv/lib/python3.11/site-packages/torch/cuda/__init__.py", line 319, in '
    "_lazy_init\n    torch._C._cuda_init()\n"
)
_UNKNOWN = (
    "RuntimeError: CUDA unknown error - this may be due to an incorrectly set up environment, e.g. "
    "changing env variable CUDA_VISIBLE_DEVICES after program start. Setting the available devices "
    "to be zero."
)

DEVICES = [
    # ---- not found
    Report(
        "a container that was started without its GPU",
        "runpod-workers/worker-comfyui#94",
        "ln: failed to create symbolic link '/workspace/runpod-volume': File exists\n"
        + main(
            "RuntimeError: Found no NVIDIA driver on your system. Please check that you have an "
            "NVIDIA GPU and installed a driver from http://www.nvidia.com/Download/index.aspx",
            _TORCH,
        ),
        1,
        "missing_driver",
        ("Found no NVIDIA driver", "--gpus all"),
        ("File exists",),
    ),
    Report(
        "a container that sees no GPU",
        "crystian/ComfyUI-Crystools#45",
        main("RuntimeError: No CUDA GPUs are available", _TORCH),
        1,
        "missing_driver",
        ("No CUDA GPUs are available",),
    ),
    Report(
        "a driver that is too old",
        "Laft02/ComfyUI-notebook-for-SageMaker-Studio-Lab#3",
        main(
            "RuntimeError: The NVIDIA driver on your system is too old (found version 11040). "
            "Please update your GPU driver by downloading and installing a new version from the "
            "URL: http://www.nvidia.com/Download/index.aspx Alternatively, go to: "
            "https://pytorch.org/ to install a PyTorch version that has been compiled with your "
            "version of the CUDA driver.",
            _TORCH,
        ),
        1,
        "missing_driver",
        ("too old", "update the driver"),
        ("--gpus all",),
    ),
    Report(
        "a driver that answers nothing that CUDA knows",
        "Comfy-Org/ComfyUI#4615",
        main(_UNKNOWN, _TORCH),
        1,
        "missing_driver",
        ("CUDA unknown error", "nvidia_uvm"),
    ),
    Report(
        "a driver that was asleep with its machine",
        "Stability-AI/StableSwarmUI#153",
        main(_UNKNOWN, _TORCH),
        1,
        "missing_driver",
        ("suspend",),
    ),
    Report(
        "a driver that lacks a symbol",
        "YanWenKun/ComfyUI-Docker#77",
        main(
            "RuntimeError: Unexpected error from cudaGetDeviceCount(). Did you run some cuda "
            "functions before calling NumCudaDevices() that might have already set an error? "
            "Error 500: named symbol not found",
            _TORCH,
        ),
        1,
        "missing_driver",
        ("Error 500: named symbol not found",),
    ),
    Report(
        "a GPU with a number that there is not, as an assertion of torch",
        "huggingface/diffusers#5443",
        main(
            "torch.cuda.DeferredCudaCallError: CUDA call failed lazily at initialization with "
            "error: device >= 0 && device < num_gpus INTERNAL ASSERT FAILED at "
            '"../aten/src/ATen/cuda/CUDAContext.cpp":50, please report a bug to PyTorch. device=, '
            "num_gpus=\n\nCUDA call was originally invoked at:\n\n['  File \"main.py\", line 5']",
            _TORCH,
        ),
        1,
        "missing_driver",
        ("CUDA_VISIBLE_DEVICES",),
        ("report a bug",),
    ),
    Report(
        "a virtual GPU that does not know the allocator",
        "Comfy-Org/ComfyUI#6843",
        main(f"RuntimeError: CUDA error: operation not supported\n{ADVICE}", _TORCH),
        1,
        "gpu_fault",
        ("operation not supported", "--disable-cuda-malloc"),
        ("For debugging",),
    ),
    Report(
        "an Arc that is not counted, and a crash",
        "vladmandic/sdnext#3201",
        "[W Device.cpp:127] Warning: XPU Device count is zero! (function "
        "initGlobalDevicePoolState)\n",
        139,
        "segmentation_fault",
    ),
    # ---- for which there is no code
    Report(
        "a Radeon that rocBLAS has no files for, said twice",
        "patientx-cfz/comfyui-rocm#44",
        f"{RUNNING}Requested to load SDXLClipModel\nloaded completely;  1560.80 MB loaded, full "
        "load: True\n\nrocBLAS error: Cannot read /w/rocblas/library/TensileLibrary.dat: No such "
        "file or directory for GPU arch : gfx1030\n List of available TensileLibrary Files :\n\n"
        "rocBLAS error: Could not initialize Tensile host:\ndirectory_iterator::directory_iterator:"
        ' No such file or directory: "/w/rocblas/library"\nFatal Python error: Aborted\n\n'
        "Stack (most recent call first):\n"
        '  File "/workspace/ComfyUI-comm/comfy/ops.py", line 475 in forward_comfy_cast_weights\n',
        "SIGABRT",
        "torch_without_cuda",
        ("not built for this GPU",),
        ("directory_iterator",),
    ),
    # ---- failing
    Report(
        "memory of a Radeon that may not be read, after a file was not found",
        "Comfy-Org/ComfyUI#11781",
        f"/opt/amdgpu/share/libdrm/amdgpu.ids: No such file or directory\n{RUNNING}"
        "Memory access fault by GPU node-1 (Agent handle: 0x55e3) on address 0x7fa606fb0000. "
        "Reason: Page not present or supervisor privilege.\n",
        "SIGABRT",
        "gpu_fault",
        ("Memory access fault by GPU node-1",),
        ("amdgpu.ids",),
    ),
    Report(
        "a freed block, after a prompt was interrupted",
        "Comfy-Org/ComfyUI#15861",
        f"{RUNNING}Processing interrupted\n"
        "terminate called after throwing an instance of 'c10::AcceleratorError'\n"
        "  what():  CUDA error: invalid argument\n"
        "Search for `cudaErrorInvalidValue' in https://docs.nvidia.com/cuda/ for more "
        "information.\nFor more detailed error information, run with CUDA_LOG_FILE=stderr\n"
        f"{FRAMES}{ABORTED}",
        134,
        "gpu_fault",
        ("CUDA error: invalid argument",),
        ("CUDA_LOG_FILE", "interrupted"),
    ),
    Report(
        "a launch that failed on a Radeon, at the start",
        "ROCm/TheRock#2846",
        main(
            "torch.AcceleratorError: HIP error: unspecified launch failure\n"
            "Search for `hipErrorLaunchFailure' in https://rocm.docs.amd.com/ for more "
            "information.\nHIP kernel errors might be asynchronously reported at some other API "
            "call, so the stacktrace below might be incorrect.\n"
            "For debugging consider passing AMD_SERIALIZE_KERNEL=3\n"
        ),
        1,
        "gpu_fault",
        ("HIP error: unspecified launch failure",),
    ),
    Report(
        "an error of CUDA in a library that writes it in three lines and aborts",
        "ggml-org/llama.cpp#8117",
        f"{RUNNING}ggml_cuda_compute_forward: MUL_MAT failed\n"
        "CUDA error: an illegal memory access was encountered\n"
        "  current device: 0, in function ggml_backend_cuda_synchronize at ggml-cuda.cu:2460\n"
        "  cudaStreamSynchronize(cuda_ctx->stream())\n"
        "/w/llama.cpp/ggml/src/ggml-cuda.cu:101: CUDA error\n"
        "Could not attach to process.  If your uid matches the uid of the target\n"
        "process, check the setting of /proc/sys/kernel/yama/ptrace_scope, or try\n"
        "again as the root user.  For more details, see /etc/sysctl.d/10-ptrace.conf\n"
        "ptrace: Operation not permitted.\nNo stack.\nThe program is not being run.\n",
        "SIGABRT",
        "gpu_fault",
        ("an illegal memory access was encountered",),
        ("ptrace", "not permitted"),
    ),
    Report(
        "memory of the GPU in the same library",
        "ikawrakow/ik_llama.cpp#747",
        f"{START}CUDA error: out of memory\n"
        "  current device: 0, in function alloc at /w/ggml/src/ggml-cuda.cu:384\n"
        "  cudaMalloc((void **) &ptr, look_ahead_size)\n"
        "/w/ggml/src/ggml-cuda.cu:116: CUDA error\nAborted (core dumped)\n",
        134,
        "cuda_out_of_memory",
    ),
    Report(
        "memory of the GPU that ran out where the driver does not tell how much there is",
        "city96/ComfyUI-GGUF#430",
        main(
            "RuntimeError: NVML_SUCCESS == r INTERNAL ASSERT FAILED at "
            '"/opt/pytorch/pytorch/c10/cuda/CUDACachingAllocator.cpp":838, please report a bug to '
            "PyTorch."
        ),
        1,
        "cuda_out_of_memory",
        (),
        ("report a bug",),
    ),
    Report(
        "an allocator that lost count",
        "Comfy-Org/ComfyUI#10665",
        f"{RUNNING}terminate called after throwing an instance of 'c10::Error'\n"
        "  what():  free_upper_bound + pytorch_used_bytes[device] <= device_total INTERNAL ASSERT "
        'FAILED at "CUDAMallocAsyncAllocator.cpp":563, please report a bug to PyTorch.\n',
        "SIGABRT",
        "gpu_fault",
        ("--disable-cuda-malloc",),
        ("report a bug",),
    ),
    Report(
        "an NPU that does not begin",
        "Ascend/pytorch#7",
        f"{START}EH9999: Inner Error!\nEH9999  [Init][Env]init env failed![FUNC:ReportInnerError]"
        "[FILE:log_inner.cpp][LINE:145]\n        TraceBack (most recent call last):\n        build "
        "op model failed, result = 500001[FUNC:ReportInnerError][FILE:log_inner.cpp][LINE:145]\n\n"
        "Aborted (core dumped)\n",
        134,
        "native_crash",
        ("init env failed",),
    ),
]
