"""Memory that runs out, and GPUs that cannot be used or fail."""

from comfysup.comfyui.diagnosis.patterns.pattern import (
    DRIVER,
    GPU,
    LESS_RAM,
    LESS_VRAM,
    NATIVE,
    OLD_DRIVER,
    ROCM_DRIVER,
    TORCH,
    XPU_DRIVER,
    pattern,
)

HARDWARE = (
    # ---- memory
    pattern(
        "cuda_out_of_memory",
        r"(?:CUDA|HIP|XPU|MPS backend) out of memory\b.*Tried to allocate (?P<size>[\d.]+ \w+)",
        "the GPU ran out of memory when it requested {size} more",
        LESS_VRAM,
    ),
    pattern(
        "cuda_out_of_memory",
        r"\bOutOfMemoryError\b|(?:CUDA|HIP|XPU|MPS backend)(?: error:)? out of memory"
        r"|CUBLAS_STATUS_ALLOC_FAILED|CUDNN_STATUS_ALLOC_FAILED|cudaErrorMemoryAllocation"
        r"|cuda failed with error 2 out of memory"
        r"|UR_RESULT_ERROR_OUT_OF_(?:DEVICE_MEMORY|RESOURCES)"
        r"|PI_ERROR_(?:OUT_OF_RESOURCES|MEM_OBJECT_ALLOCATION_FAILURE)"
        r"|HSA_STATUS_ERROR_OUT_OF_RESOURCES|hipErrorOutOfMemory"
        r"|Allocation on device .*would exceed allowed memory",
        "the GPU ran out of memory",
        LESS_VRAM,
    ),
    pattern(
        "cuda_out_of_memory",
        r"NVML_SUCCESS == r INTERNAL ASSERT FAILED",
        "the GPU ran out of memory, and its driver did not report how much there was",
        LESS_VRAM,
    ),
    pattern(
        "host_out_of_memory",
        r"DefaultCPUAllocator: .*you tried to allocate (?P<size>\d+) bytes",
        "the machine ran out of memory when ComfyUI requested {size} bytes more",
        LESS_RAM,
    ),
    pattern(
        "host_out_of_memory",
        r"unable to mmap (?P<size>\d+) bytes from file <(?P<path>[^>]+)>: Cannot allocate memory",
        "the machine ran out of memory when {path} ({size} bytes) was mapped",
        LESS_RAM,
    ),
    pattern(
        "host_out_of_memory",
        r"^(?:[\w.]+\.)?(?:_Array)?MemoryError\b|^[\w.]+: \[Errno 12\]|std::bad_alloc"
        r"|memory allocation of \d+ bytes failed|Cannot allocate memory"
        r"|(?:UR_RESULT|PI)_ERROR_OUT_OF_HOST_MEMORY|cudaErrorHostMemory"
        r"|DefaultCPUAllocator: not enough",
        "the machine ran out of memory",
        LESS_RAM,
    ),
    # ---- GPUs that cannot be used
    pattern(
        "missing_driver",
        r"(?P<what>driver on your system is too old|CUDA driver version is insufficient"
        r"|(?:Error 80[34]: )?(?:system has unsupported display driver[^.\n]*"
        r"|forward compatibility was attempted on non supported HW))",
        "ComfyUI found no GPU that it can use ({what})",
        OLD_DRIVER,
    ),
    pattern(
        "missing_driver",
        r"(?P<what>CUDA unknown error)",
        "ComfyUI found no GPU that it can use ({what})",
        "start the container again; after a suspend of the host reload nvidia_uvm there (rmmod, "
        "modprobe), or pass --cpu",
    ),
    pattern(
        "missing_driver",
        r"device < num_gpus INTERNAL ASSERT FAILED",
        "ComfyUI was given the number of a GPU that does not exist",
        "correct `gpu`, or CUDA_VISIBLE_DEVICES in `env`: it names more GPUs than there are",
    ),
    pattern(
        "missing_driver",
        r"Unexpected error from cudaGetDeviceCount\(\).*(?P<what>Error \d+: [^.\n]+)",
        "ComfyUI found no GPU that it can use ({what})",
        DRIVER,
    ),
    pattern(
        "missing_driver",
        r"(?P<what>No XPU devices are available"
        r"|(?:PI|UR_RESULT)_ERROR_(?:UNINITIALIZED|DEVICE_NOT_FOUND))",
        "ComfyUI found no GPU that it can use ({what})",
        XPU_DRIVER,
    ),
    pattern(
        "missing_driver",
        r"(?P<what>No HIP GPUs are available|no ROCm-capable device is detected"
        r"|Unable to open /dev/kfd[^:]*(?:: [\w ]+)?)",
        "ComfyUI found no GPU that it can use ({what})",
        ROCM_DRIVER,
    ),
    pattern(
        "missing_driver",
        r"(?P<what>Found no NVIDIA driver|No CUDA (?:GPUs|devices) are available"
        r"|CUDA driver initialization failed"
        r"|no CUDA-capable device is detected|system not yet initialized"
        r"|(?<!\. Error: )libcuda\.so[.\d]*: cannot open"
        r"|invalid device ordinal|Unexpected error from cudaGetDeviceCount)",
        "ComfyUI found no GPU that it can use ({what})",
        DRIVER,
    ),
    pattern(
        "torch_without_cuda",
        r"Torch not compiled with (?P<what>CUDA|XPU|ROCm|HIP) enabled",
        "the torch of this environment was built without {what}",
        TORCH,
    ),
    pattern(
        "torch_without_cuda",
        r"no kernel image is available for execution on the device|invalid device function"
        r"|device kernel image is invalid|hipErrorNoBinaryForGpu|hipErrorInvalidImage"
        r"|TensileLibrary|hipErrorSharedObjectInitFailed|cudaErrorNoKernelImageForDevice",
        "the torch of this environment was not built for this GPU",
        TORCH,
    ),
    # ---- GPUs that fail
    pattern(
        "gpu_fault",
        r"(?P<what>(?:CUDA|HIP) error: device-side assert triggered)"
        r"|: block: \[[\d,]+\], thread: \[[\d,]+\] (?P<claim>Assertion `.+` failed)",
        "the GPU stopped: {what}",
        "a node gave the GPU an index out of range, most often a model that does not fit the "
        "workflow; CUDA_LAUNCH_BLOCKING=1 in `env` shows which",
    ),
    pattern(
        "gpu_fault",
        r"(?P<what>CUDA error: operation not supported)",
        "the GPU failed: {what}",
        "pass --disable-cuda-malloc: a virtual GPU may not know the allocator that ComfyUI chose",
    ),
    pattern(
        "gpu_fault",
        r"(?P<what>free_upper_bound \+ pytorch_used_bytes)\b.* INTERNAL ASSERT FAILED",
        "torch lost count of the GPU's memory ({what})",
        "pass --disable-cuda-malloc: it happens in the allocator that ComfyUI chose",
    ),
    pattern(
        "gpu_fault",
        r"(?P<what>(?:CUDA|HIP|XPU) error: [^.\n]+|Memory access fault by GPU node-\d+"
        r"|HW Exception by GPU node-\d+|HSA_STATUS_ERROR\w*|hsa_status \w+"
        r"|UR_RESULT_ERROR_(?:DEVICE_LOST|UNKNOWN|DEVICE_NOT_AVAILABLE)"
        r"|Native API returns: [^()]+\([^()]+\)"
        r"|CUBLAS_STATUS_\w+|CUDNN_STATUS_\w+|CUSOLVER_STATUS_\w+|cuDNN error: \w+"
        r"|MIOpen Error: [^.\n]+|NCCL (?:error|Error)[^.\n]*|rocBLAS error: [^.\n]+"
        r"|miopenStatus\w+|ErrorDeviceLost|GPU has fallen off the bus)",
        "the GPU failed: {what}",
        GPU,
    ),
    pattern(
        "segmentation_fault",
        r"^Fatal Python error: (?:Segmentation fault|Bus error)",
        "crashed in native code",
        NATIVE,
    ),
)
