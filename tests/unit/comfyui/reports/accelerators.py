"""Accelerators in public reports: XPUs, MPS, asserts and crashes of kernels."""

from tests.unit.comfyui.last_words import RUNNING, START
from tests.unit.comfyui.reports.shape import ADVICE, Report, main

_XPU = (
    '  File "/workspace/ComfyUI-comm/comfy/model_management.py", line 176, in get_torch_device\n'
    "    return torch.device('xpu', torch.xpu.current_device())\n"
)
_API = "RuntimeError: Native API failed. Native API returns: {0} ({1}) {0} ({1})"
_SOURCE = "../aten/src/ATen/native/cuda/Indexing.cu:1292: indexSelectLargeIndex"
_ASSERTS = "".join(
    f"{_SOURCE}: block: [11,0,0], thread: [{thread},0,0] Assertion `srcIndex < srcSelectDimSize` "
    "failed.\n"
    for thread in range(64)
)
_ASSERT = "CUDA error: device-side assert triggered\n"
_MPS = (
    "/AppleInternal/Library/Caches/com.apple.xbs/Sources/MetalPerformanceShaders/MPSCore/Types/"
    "MPSNDArray.mm:{}: failed assertion `[MPSNDArray initWithDevice:descriptor:] Error: {}'\n"
)
_STACK = (
    "\nStack (most recent call first):\n"
    '  File "/workspace/ComfyUI-comm/custom_nodes/{}.py", line 35 in sage_func\n'
    '  File "/workspace/ComfyUI-comm/comfy/ldm/modules/attention.py", line 136 in wrapper\n'
)

_WATCHER = (
    "Thread 0x00007d02153ff6c0 (most recent call first):\n"
    '  File "/usr/lib/python3.12/asyncio/runners.py", line 195 in run\n'
    '  File "/w/ComfyUI/custom_nodes/ComfyUI-Crystools/general/monitor.py", line 31 in '
    "startMonitorLoop\n\n"
)

ACCELERATORS = [
    # ---- Intel
    Report(
        "an XPU whose driver does not begin",
        "intel/intel-extension-for-pytorch#708",
        main(_API.format(-1102, "PI_ERROR_UNINITIALIZED"), _XPU),
        1,
        "missing_driver",
        ("PI_ERROR_UNINITIALIZED",),
    ),
    Report(
        "an XPU whose memory is used up",
        "intel/intel-extension-for-pytorch#359",
        main(_API.format(-5, "PI_ERROR_OUT_OF_RESOURCES"), _XPU),
        1,
        "cuda_out_of_memory",
    ),
    Report(
        "an XPU that refuses a value",
        "chflame163/ComfyUI_LayerStyle#209",
        main(_API.format(-30, "PI_ERROR_INVALID_VALUE"), _XPU),
        1,
        "gpu_fault",
        ("PI_ERROR_INVALID_VALUE",),
    ),
    Report(
        "an XPU that hung up",
        "AUTOMATIC1111/stable-diffusion-webui#17010",
        main(_API.format(-997, "Command failed to enqueue/execute"), _XPU),
        1,
        "gpu_fault",
        ("Native API",),
    ),
    Report(
        "an XPU that was lost",
        "pytorch/pytorch#190972",
        main(
            "RuntimeError: level_zero backend failed with error: 20 (UR_RESULT_ERROR_DEVICE_LOST)",
            _XPU,
        ),
        1,
        "gpu_fault",
        ("UR_RESULT_ERROR_DEVICE_LOST",),
    ),
    Report(
        "a driver for XPUs that gives up",
        "vladmandic/sdnext#2056",
        f"{START}Abort was called at 62 line in file:\n./shared/source/os_interface/os_interface.h"
        "\nAborted\n",
        134,
        "native_crash",
        ("os_interface.h",),
    ),
    Report(
        "a driver for XPUs that gives up while it looks for engines",
        "intel/compute-runtime#700",
        f"{START}Abort was called at 210 line in file:\n"
        "/opt/compute-runtime/shared/source/os_interface/linux/engine_info.cpp\n",
        "SIGABRT",
        "native_crash",
        ("Abort was called", "engine_info.cpp"),
    ),
    # ---- AMD
    Report(
        "kernels of rocBLAS that are not there",
        "ROCm/rocBLAS#1339",
        f"{RUNNING}rocBLAS error: Cannot read /opt/rocm-5.4.0/lib/rocblas/library/"
        "TensileLibrary.dat: Illegal seek\nAborted (core dumped)\n",
        134,
        "torch_without_cuda",
    ),
    Report(
        "kernels of rocBLAS for this GPU that cannot be loaded",
        "patientx/ComfyUI-Zluda#235",
        f"{RUNNING}  0%|          | 0/20 [00:00<?, ?it/s]\nrocBLAS error: Could not load "
        "/opt/rocm/rocblas/library/TensileLibrary_lazy_gfx1103.dat\n\nrocBLAS error: Could not "
        "initialize Tensile library\n",
        "SIGABRT",
        "torch_without_cuda",
    ),
    Report(
        "a model of MIOpen that is not there, which it does without, and another end",
        "ROCm/rocm-libraries#5610",
        f"{RUNNING}MIOpen(HIP): Error [/rocm/miopen/src/include/miopen/conv/heuristics/"
        "ai_heuristics.hpp:62] Unable to load file: gfx908_metadata.tn.model\n"
        "Prompt executed in 30.10 seconds\nfree(): invalid pointer\n",
        "SIGABRT",
        "native_crash",
        ("free(): invalid pointer",),
        ("MIOpen",),
    ),
    # ---- Apple
    Report(
        "an array that is too long for MPS",
        "Comfy-Org/ComfyUI#7882",
        RUNNING + _MPS.format(829, "NDArray dimension length > INT_MAX"),
        "SIGABRT",
        "native_crash",
        ("INT_MAX",),
    ),
    Report(
        "an array that is too large for MPS, and the tracker of resources",
        "ltdrdata/ComfyUI-Impact-Pack#376",
        RUNNING
        + _MPS.format(761, "total bytes of NDArray > 2**32")
        + "/usr/lib/python3.10/multiprocessing/resource_tracker.py:224: UserWarning: "
        "resource_tracker: There appear to be 1 leaked semaphore objects to clean up at shutdown\n"
        "  warnings.warn('resource_tracker: There appear to be %d '\n",
        "SIGABRT",
        "native_crash",
        ("2**32",),
        ("semaphore",),
    ),
    Report(
        "an assertion of MPS that ends in the next line",
        "huchenlei/ComfyUI-layerdiffuse#11",
        f"{RUNNING}/AppleInternal/MPSNDArray/Kernels/MPSNDArraySort.mm:283: failed assertion "
        "`(null)\" Axis = 4. This class only supports axis = 0, 1, 2, 3\n'\nAbort trap: 6\n",
        134,
        "native_crash",
        ("Axis = 4",),
    ),
    # ---- asserts of kernels
    Report(
        "hundreds of asserts before the error that they led to",
        "Comfy-Org/ComfyUI#6568",
        f"{RUNNING}{_ASSERTS}terminate called after throwing an instance of 'c10::Error'\n"
        f"  what():  {_ASSERT}{ADVICE}",
        "SIGABRT",
        "gpu_fault",
        ("index out of range",),
    ),
    Report(
        "asserts of kernels, and not a word after them",
        "shiimizu/ComfyUI-PhotoMaker-Plus#1",
        RUNNING + _ASSERTS,
        134,
        "gpu_fault",
        ("index out of range",),
    ),
    Report(
        "an assert in a prompt, and another end",
        "Comfy-Org/ComfyUI#3453",
        f"{RUNNING}{_ASSERTS}!!! Exception during processing !!! {_ASSERT}{ADVICE}"
        "Traceback (most recent call last):\n"
        '  File "/workspace/ComfyUI-comm/execution.py", line 151, in recursive_execute\n'
        f"RuntimeError: {_ASSERT}{ADVICE}\nPrompt executed in 8.00 seconds\n"
        + main("KeyError: 'sid'").removeprefix(START),
        1,
        "exit",
        ("KeyError: 'sid'",),
        ("assert",),
    ),
    # ---- crashes in kernels and around them
    Report(
        "an attention that failed and was replaced, before the process aborted",
        "artokun/comfyui-mcp#2497",
        f"{RUNNING} 40%|####      | 8/20 [01:10<01:45,  8.8s/it][ERROR] Error running sage "
        "attention: CUDA error: an illegal memory access was encountered, using pytorch attention "
        f"instead.\nFatal Python error: Aborted\n{_STACK.format('ComfyUI-TiledDiffusion/utils')}",
        "SIGABRT",
        "gpu_fault",
        ("illegal memory access",),
    ),
    Report(
        "an abort in the attention of a custom node",
        "kijai/ComfyUI-KJNodes#670",
        f"{RUNNING}Requested to load QwenImage\n  0%|          | 0/20 [00:00<?, ?it/s]Fatal Python "
        f"error: Aborted\n{_STACK.format('comfyui-kjnodes/nodes/model_optimization_nodes')}",
        "SIGABRT",
        "native_crash",
        ("'comfyui-kjnodes'",),
    ),
    Report(
        "a crash behind a progress bar, with the frames of a custom node",
        "kijai/ComfyUI-WanVideoWrapper#2024",
        f"{RUNNING}T5Encoder:  33%|####   | 8/24 [00:01<00:01,  8.54it/s]FETCH ComfyRegistry Data: "
        "20/149\nLoading transformer parameters to cuda:0:   0%|   | 0/1095 [00:00<?, ?it/s]Fatal "
        "Python error: Segmentation fault\n\nStack (most recent call first):\n"
        '  File "/workspace/ComfyUI-comm/custom_nodes/ComfyUI-WanVideoWrapper/utils.py", line 9 in '
        "set_module\n",
        139,
        "segmentation_fault",
        ("'ComfyUI-WanVideoWrapper'",),
        ("FETCH",),
    ),
    Report(
        "a crash in a model of a custom node, frame by frame with empty lines between",
        "ltdrdata/ComfyUI-Impact-Pack#1017",
        f"{RUNNING}Fatal Python error: Segmentation fault\n\n\nCurrent thread 0x00007cff275ff6c0 "
        "(most recent call first):\n\n"
        '  File "/w/venv/lib/python3.12/site-packages/torch/nn/modules/linear.py", line 134 in '
        "forward\n\n"
        '  File "/w/ComfyUI/custom_nodes/comfyui-impact-pack/modules/impact/core.py", line 5 in '
        f"make_sam_mask\n\n{_WATCHER}",
        "SIGSEGV",
        "segmentation_fault",
        ("'comfyui-impact-pack'",),
        ("Crystools",),
    ),
    Report(
        "an abort while other threads of custom nodes wait",
        "EvilBT/ComfyUI_SLK_joy_caption_two#65",
        f"{RUNNING}Loading LLM: unsloth/Meta-Llama-3.1-8B-Instruct-bnb-4bit\nFatal Python error: "
        f"Aborted\n\n{_WATCHER}Current thread 0x00004768 (most recent call first):\n"
        '  File "/w/venv/lib/python3.11/site-packages/bitsandbytes/functional.py", line 1 in f\n'
        '  File "/w/custom_nodes/ComfyUI_SLK_joy_caption_two/joy.py", line 9 in load\n',
        "SIGABRT",
        "native_crash",
        ("'ComfyUI_SLK_joy_caption_two'", "Loading LLM"),
        ("Crystools",),
    ),
    Report(
        "a crash in code of its own, while threads of custom nodes wait",
        "Genesis-Embodied-AI/genesis-world#492",
        f"{RUNNING}Fatal Python error: Segmentation fault\n\n{_WATCHER}Current thread "
        "0x00007fa2972464c0 (most recent call first):\n"
        '  File "/workspace/ComfyUI-comm/execution.py", line 88 in execute\n',
        139,
        "segmentation_fault",
        (),
        ("Crystools",),
    ),
    Report(
        "an abort in a node, on one thread",
        "jtydhr88/ComfyUI-See-through#31",
        f"{RUNNING}Requested to load Autoencoder\nFatal Python error: Aborted\n"
        + _STACK.format("ComfyUI-See-through/common/vae"),
        134,
        "native_crash",
        ("'ComfyUI-See-through'",),
    ),
    # ---- the kernel
    Report(
        "a page of a model that the network's disk did not bring",
        "NVIDIA/TensorRT-LLM#17368",
        f"{RUNNING}Loading safetensors:  12%|#     | 170/1433 [00:40<05:00,  4.2it/s]\n",
        135,
        "signal",
        ("SIGBUS", "network"),
    ),
    Report(
        "a kill that the shell tells of in one word",
        "Comfy-Org/workflow_templates#341",
        f"{RUNNING}Requested to load Flux2\nloaded partially: 20160.00 MB loaded, lowvram patches: "
        "0\nKilled\n",
        137,
        "signal",
        ("SIGKILL", "memory"),
    ),
]
