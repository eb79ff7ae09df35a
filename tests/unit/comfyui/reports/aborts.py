"""Processes ended by native code, the kernel or a person, from public reports."""

from tests.unit.comfyui.last_words import RUNNING, START
from tests.unit.comfyui.reports.shape import Report

_OMP = (
    "OMP: Error #15: Initializing libomp.so, but found libomp.so already initialized.\n"
    "OMP: Hint This means that multiple copies of the OpenMP runtime have been linked into the "
    "program. As an unsafe, unsupported, undocumented workaround you can set the environment "
    "variable KMP_DUPLICATE_LIB_OK=TRUE to allow the program to continue to execute.\n"
)
_MPS = (
    '  0%|          | 0/20 [00:00<?, ?it/s]loc("varianceEps"("(mpsFileLoc): /AppleInternal/Library/'
    "MPSGraphUtilities.mm\":228:0)): error: input types 'tensor<1x8192x1xf16>' and 'tensor<1xf32>' "
    "are not broadcast compatible\n"
)

ABORTS = [
    # ---- libraries that give up
    Report(
        "two copies of OpenMP",
        "TinyTerra/ComfyUI_tinyterraNodes#98",
        f"{START}{_OMP}zsh: abort      python3.11 main.py\n",
        "SIGABRT",
        "native_crash",
        ("OpenMP", "KMP_DUPLICATE_LIB_OK"),
        ("zsh",),
    ),
    Report(
        "a window without a display",
        "takemetosiberia/ComfyUI-SAMURAI--SAM2-#9",
        f"{RUNNING}Getting box for frame 0 (refresh state: 1)\n"
        'qt.qpa.plugin: Could not load the Qt platform plugin "xcb" in '
        '"/opt/venv/lib/python3.12/site-packages/cv2/qt/plugins" even though it was found.\n'
        "This application failed to start because no Qt platform plugin could be initialized. "
        "Reinstalling the application may fix this problem.\n\n"
        "Available platform plugins are: xcb.\n\n",
        "SIGABRT",
        "native_crash",
        ("display", "opencv-python-headless"),
        ("Available platform",),
    ),
    Report(
        "an assertion of a library, and a debugger that may not look",
        "abetlen/llama-cpp-python#1287",
        f"{START}llama_kv_cache_init:  CUDA_Host KV buffer size =  4096.00 MiB\n"
        "GGML_ASSERT: /tmp/pip-install/vendor/llama.cpp/ggml-backend.c:1526: n_inputs < "
        "GGML_SCHED_MAX_SPLIT_INPUTS\n"
        "Could not attach to process.  If your uid matches the uid of the target\n"
        "process, check the setting of /proc/sys/kernel/yama/ptrace_scope\n"
        "ptrace: Operation not permitted.\nNo stack.\nThe program is not being run.\n",
        "SIGABRT",
        "native_crash",
        ("GGML_ASSERT",),
        ("ptrace",),
    ),
    Report(
        "an assertion of the same library in newer words",
        "ggml-org/llama.cpp#13359",
        f"{RUNNING}/w/ggml/src/ggml.c:1554: GGML_ASSERT(view_src == NULL || data_size == 0) failed"
        "\n[New LWP 46883]\n[Thread debugging using libthread_db enabled]\n"
        "0x00007fffeeef2b57 in __GI___wait4 (pid=46892, options=0, usage=0)\n",
        "SIGABRT",
        "native_crash",
        ("GGML_ASSERT(view_src",),
        ("LWP", "wait4"),
    ),
    Report(
        "a compiler that gives up behind a bar, with a warning of Python after it",
        "Comfy-Org/ComfyUI#5046",
        f"{RUNNING}{_MPS}LLVM ERROR: Failed to infer result type(s).\nAbort trap: 6\n"
        "/w/lib/python3.9/multiprocessing/resource_tracker.py:216: UserWarning: resource_tracker: "
        "There appear to be 1 leaked semaphore objects to clean up at shutdown\n"
        "  warnings.warn('resource_tracker: There appear to be %d '\n",
        "SIGABRT",
        "native_crash",
        ("LLVM ERROR: Failed to infer result type(s).",),
        ("semaphore", "Abort trap"),
    ),
    Report(
        "an array of a Mac that is too large",
        "invoke-ai/InvokeAI#2639",
        f"{RUNNING}/w/MPSCore/Types/MPSNDArray.mm:724: failed assertion `[MPSNDArray "
        "initWithDevice:descriptor:] Error: total bytes of NDArray > 2**32'\n"
        "/Users/e/start.sh: line 6: 53306 Abort trap: 6           python main.py\n",
        134,
        "native_crash",
        ("total bytes of NDArray > 2**32",),
        ("start.sh",),
    ),
    Report(
        "an assertion in the words of a Mac",
        "huggingface/diffusers#1791",
        f"{RUNNING}Assertion failed: (vals.isSplat()), function getConstantValue, file "
        "CommonRuntimeUtils.h, line 58.\nzsh: abort      python main.py\n",
        "SIGABRT",
        "native_crash",
        ("Assertion failed: (vals.isSplat())",),
        ("zsh",),
    ),
    Report(
        "a thread without a state in Python",
        "Da1sypetals/SnapViewer#2",
        f"{RUNNING}Fatal Python error: PyInterpreterState_Get: the function must be called with "
        "the GIL held, but the GIL is released (the current Python thread state is NULL)\n"
        "Python runtime state: unknown\n\n[1]    34394 abort      python main.py\n",
        "SIGABRT",
        "native_crash",
        ("PyInterpreterState_Get",),
        ("34394",),
    ),
    Report(
        "a thread state that is released without one",
        "RLinf/RLinf#1040",
        f"{RUNNING}Fatal Python error: PyGILState_Release: auto-releasing thread-state, but no "
        "thread-state for this thread\nPython runtime state: initialized\n\n"
        "Thread 0x00007f3a7dffb640 (most recent call first):\n  <no Python frame>\n",
        "SIGABRT",
        "native_crash",
        ("PyGILState_Release",),
    ),
    Report(
        "an abort in a custom node that says nothing",
        "Gourieff/ComfyUI-ReActor#107",
        f"{START}[ReActor] - STATUS - Running v0.6.0-a1 in ComfyUI\nAborted (core dumped)\n",
        134,
        "native_crash",
    ),
    # ---- signals, with the words of a shell
    Report(
        "a crash that a script of Bash tells of",
        "Creepybits/ComfyUI-Creepy_nodes#9",
        f"{START}start.sh: line 2: 16131 Segmentation fault      (core dumped) python main.py "
        "--enable-manager --lowvram\n",
        139,
        "segmentation_fault",
    ),
    Report(
        "a crash that a shell tells of in Spanish",
        "Comfy-Org/ComfyUI#9837",
        f"{RUNNING}  0%|  | 0/20 [00:00<?, ?it/s]\nViolaci\u00f3n de segmento (`core' generado)\n",
        139,
        "segmentation_fault",
    ),
    Report(
        "a crash that a shell tells of in Chinese",
        "crystian/ComfyUI-Crystools#137",
        f"{START}\u6bb5\u9519\u8bef (\u6838\u5fc3\u5df2\u8f6c\u50a8)\n",
        139,
        "segmentation_fault",
    ),
    Report(
        "a crash of a library for a Radeon",
        "kijai/ComfyUI-segment-anything-2#87",
        RUNNING,
        "SIGSEGV",
        "segmentation_fault",
    ),
    Report(
        "an instruction that an old processor does not know",
        "PGCRT/CRT-Nodes#10",
        f"{START}Illegal instruction (core dumped)\n",
        132,
        "signal",
        ("SIGILL", "another processor"),
    ),
    Report(
        "an instruction that is unknown, in a shell that says so",
        "Comfy-Org/ComfyUI#6760",
        f"{RUNNING}loaded partially 4245.425 4244.8984375 0\n"
        "fish: Job 1, 'python main.py' terminated by signal SIGILL (Illegal instruction)\n",
        "SIGILL",
        "signal",
        ("SIGILL",),
    ),
    Report(
        "a bus error while a model is loaded, where shared memory is small",
        "NVIDIA/retinanet-examples#59",
        f"{RUNNING}Loading model from model.pth...\nBus error (core dumped)\n",
        135,
        "signal",
        ("SIGBUS", "--shm-size"),
    ),
    Report(
        "a kill behind a bar that had ended",
        "kijai/ComfyUI-WanVideoWrapper#20",
        f"{RUNNING}100%|##########| 30/30 [06:13<00:00, 12.46s/it]\nKilled\n",
        137,
        "signal",
        ("SIGKILL", "memory"),
    ),
    Report(
        "a kill that a script tells of",
        "mmartial/ComfyUI-Nvidia-Docker#12",
        f"{RUNNING}model_type FLOW\n/comfy/mnt/user_script.bash: line 21:   116 Killed      "
        "    python3 ./main.py --listen 0.0.0.0 --disable-auto-launch --reserve-vram 4\n",
        137,
        "signal",
        ("SIGKILL",),
    ),
    Report(
        "an interrupt, with the traceback of the threads that it waited for",
        "LucianoCirino/efficiency-nodes-comfyui#77",
        f"{RUNNING}Stopped server\nException ignored in: <module 'threading' from "
        "'/usr/lib/python3.10/threading.py'>\nTraceback (most recent call last):\n"
        '  File "/usr/lib/python3.10/threading.py", line 1567, in _shutdown\n    lock.acquire()\n'
        "KeyboardInterrupt: \n",
        130,
        "signal",
        ("SIGINT",),
        ("threading",),
    ),
]
