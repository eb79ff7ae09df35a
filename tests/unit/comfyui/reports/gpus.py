"""GPUs that fail, and GPUs that cannot be used."""

from tests.unit.comfyui.last_words import RUNNING, START
from tests.unit.comfyui.reports.shape import ABORTED, ADVICE, BAR, C_STACK, FRAMES, Report, main

GPUS = [
    # ---- GPUs that fail
    Report(
        "a memory fault of a Radeon, with a stack of C frames",
        "ROCm/legacy-rocm-build#5051",
        RUNNING
        + "Memory access fault by GPU node-1 (Agent handle: 0x55e31981ed40) on address "
        + f"0x7fa606fb0000. Reason: Page not present or supervisor privilege.\n{C_STACK}",
        "SIGABRT",
        "gpu_fault",
        ("Memory access fault by GPU node-1",),
        ("Binary file",),
    ),
    Report(
        "an illegal memory access behind a progress bar",
        "Comfy-Org/ComfyUI#15271",
        f"{RUNNING}{BAR}terminate called after throwing an instance of 'c10::AcceleratorError'\n"
        "  what():  CUDA error: an illegal memory access was encountered\n"
        + ADVICE
        + FRAMES
        + ABORTED,
        "SIGABRT",
        "gpu_fault",
        ("CUDA error: an illegal memory access was encountered",),
        ("frame #", "12%", "Fatal Python error"),
    ),
    Report(
        "memory of a GPU that is broken, at exit",
        "sgl-project/sglang#9151",
        f"{RUNNING}terminate called after throwing an instance of 'c10::AcceleratorError'\n"
        f"  what():  CUDA error: uncorrectable ECC error encountered\n{ADVICE}{FRAMES}",
        134,
        "gpu_fault",
        ("uncorrectable ECC error",),
    ),
    Report(
        "memory of a GPU that is broken, as an exception",
        "huggingface/accelerate#1192",
        main(f"RuntimeError: CUDA error: uncorrectable ECC error encountered\n{ADVICE}"),
        1,
        "gpu_fault",
        ("uncorrectable ECC error",),
        ("For debugging",),
    ),
    Report(
        "an assert on the GPU",
        "pytorch/pytorch#74079",
        main(f"RuntimeError: CUDA error: device-side assert triggered\n{ADVICE}"),
        1,
        "gpu_fault",
        ("device-side assert", "CUDA_LAUNCH_BLOCKING"),
    ),
    Report(
        "a launch that failed",
        "pytorch/pytorch: c10/cuda/CUDAException.cpp",
        main(f"torch.AcceleratorError: CUDA error: unspecified launch failure\n{ADVICE}"),
        1,
        "gpu_fault",
        ("unspecified launch failure",),
    ),
    Report(
        "an Arc that was lost",
        "pytorch/pytorch#190972",
        main(
            "RuntimeError: level_zero backend failed with error: 20 (UR_RESULT_ERROR_DEVICE_LOST)"
        ),
        1,
        "gpu_fault",
        ("UR_RESULT_ERROR_DEVICE_LOST",),
    ),
    Report(
        "an Arc that was lost, in older words",
        "Comfy-Org/ComfyUI#7753",
        main(
            "RuntimeError: Native API failed. Native API returns: 20 (UR_RESULT_ERROR_DEVICE_LOST)"
        ),
        1,
        "gpu_fault",
    ),
    Report(
        "a queue of ROCm that aborts",
        "vladmandic/sdnext#922",
        RUNNING
        + ":0:rocdevice.cpp            :2668: 7211 us: 9221 : [tid:0x7f] Callback: Queue 0x7f "
        + "aborting with error : HSA_STATUS_ERROR_MEMORY_APERTURE_VIOLATION: The agent attempted "
        + "to access memory beyond the largest legal address. code: 0x29\n",
        "SIGABRT",
        "gpu_fault",
        ("HSA_STATUS_ERROR_MEMORY_APERTURE_VIOLATION",),
    ),
    Report(
        "a Radeon that hangs",
        "ROCm/ROCR-Runtime: amd_gpu_agent",
        RUNNING
        + "HW Exception by GPU node-1 (Agent handle: 0x5620) reason :GPU Hang\n"
        + "Aborted (core dumped)\n",
        "SIGABRT",
        "gpu_fault",
        ("HW Exception by GPU node-1",),
    ),
    Report(
        "cuDNN that does not begin",
        "pytorch/pytorch: aten/src/ATen/cudnn/Exceptions.h",
        main("RuntimeError: cuDNN error: CUDNN_STATUS_NOT_INITIALIZED"),
        1,
        "gpu_fault",
        ("CUDNN_STATUS_NOT_INITIALIZED",),
    ),
    # ---- GPUs and torch that do not fit
    Report(
        "a Radeon that this ROCm has no code for",
        "AUTOMATIC1111/stable-diffusion-webui#5067",
        f'{START}"hipErrorNoBinaryForGpu: Unable to find code object for all current devices!"\n'
        "Aborted (core dumped)\n",
        134,
        "torch_without_cuda",
    ),
    Report(
        "a kernel image that is invalid",
        "patientx/ComfyUI-Zluda#469",
        main("torch.AcceleratorError: CUDA error: device kernel image is invalid"),
        1,
        "torch_without_cuda",
    ),
    Report(
        "no kernel image, on a Radeon",
        "LykosAI/StabilityMatrix#941",
        main(
            "RuntimeError: HIP error: no kernel image is available for execution on the device\n"
            "HIP kernel errors might be asynchronously reported at some other API call.\n"
            "For debugging consider passing AMD_SERIALIZE_KERNEL=3\n"
        ),
        1,
        "torch_without_cuda",
    ),
    Report(
        "a torch without XPU",
        "pytorch/pytorch: torch/xpu/__init__.py",
        main("AssertionError: Torch not compiled with XPU enabled"),
        1,
        "torch_without_cuda",
        ("without XPU",),
    ),
    Report(
        "no HIP GPUs",
        "Comfy-Org/ComfyUI#12164",
        main("RuntimeError: No HIP GPUs are available"),
        1,
        "missing_driver",
    ),
    Report(
        "a driver that does not fit, while a message goes on",
        "Comfy-Org/ComfyUI#10415",
        main(
            "RuntimeError: Unexpected error from cudaGetDeviceCount(). Did you run some cuda "
            "functions before calling NumCudaDevices() that might have already set an error? "
            "Error 803: system has unsupported display driver / cuda driver combination"
        ),
        1,
        "missing_driver",
        ("unsupported display driver",),
    ),
    Report(
        "a fabric manager that does not run",
        "pytorch/pytorch: c10/cuda/CUDAFunctions.cpp",
        main(
            "RuntimeError: Unexpected error from cudaGetDeviceCount(). Error 802: system not yet "
            "initialized"
        ),
        1,
        "missing_driver",
    ),
    Report(
        "a GPU with a number that there is not",
        "pytorch/pytorch: torch/cuda/__init__.py",
        main(f"torch.AcceleratorError: CUDA error: invalid device ordinal\n{ADVICE}"),
        1,
        "missing_driver",
        ("invalid device ordinal",),
    ),
    Report(
        "no access to /dev/kfd",
        "ROCm/ROCR-Runtime: libhsakmt",
        f"{START}Unable to open /dev/kfd read-write: Permission denied\n"
        + main("RuntimeError: No HIP GPUs are available"),
        1,
        "missing_driver",
    ),
]
