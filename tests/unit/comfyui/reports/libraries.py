"""Libraries in public reports: missing, old, damaged."""

from tests.unit.comfyui.last_words import RUNNING, START
from tests.unit.comfyui.reports.shape import BAR, Report, main
from tests.unit.comfyui.reports.survivors import node

_TORCH = (
    '  File "/workspace/ComfyUI-comm/comfy/utils.py", line 20, in <module>\n    import torch\n'
    '  File "/w/venv/lib/python3.12/site-packages/torch/__init__.py", line 367, in <module>\n'
    "    from torch._C import *  # noqa: F403\n    ^^^^^^^^^^^^^^^^^^^^^^\n"
)
_CUDNN = (
    "Could not load library libcudnn_cnn_infer.so.8. Error: libnvrtc.so: cannot open shared object "
    "file: No such file or directory\n"
)

LIBRARIES = [
    # ---- that the linker refuses
    Report(
        "a C++ library that is too old for SciPy",
        "Comfy-Org/ComfyUI#999",
        main(
            "ImportError: /usr/lib/x86_64-linux-gnu/libstdc++.so.6: version `GLIBCXX_3.4.26' not "
            "found (required by /w/scipy/linalg/_matfuncs_sqrtm_triu.cpython-39.so)"
        ),
        1,
        "missing_module",
        ("GLIBCXX_3.4.26",),
    ),
    Report(
        "a protobuf that the system has in another version",
        "Comfy-Org/ComfyUI#8516",
        main(
            "ImportError: libprotobuf-lite.so.30.2.0: cannot open shared object file: No such file "
            "or directory"
        ),
        1,
        "missing_module",
        ("libprotobuf-lite.so.30.2.0",),
    ),
    Report(
        "a library that a torch for a Radeon wants",
        "virchau13/automatic1111-webui-nix#14",
        main(
            "ImportError: libzstd.so.1: cannot open shared object file: No such file or directory",
            _TORCH,
        ),
        1,
        "missing_module",
        ("libzstd.so.1",),
    ),
    Report(
        "an MKL that is too new for torch",
        "Comfy-Org/ComfyUI#10259",
        main(
            "ImportError: /w/envs/comfyenv/lib/python3.12/site-packages/torch/lib/libtorch_cpu.so: "
            "undefined symbol: iJIT_NotifyEvent",
            _TORCH,
        ),
        1,
        "missing_module",
        ("MKL", "mkl<2024.1"),
    ),
    Report(
        "the same under another launcher",
        "Comfy-Org/ComfyUI#3513",
        "Traceback (most recent call last):\n"
        '  File "/w/venv/bin/ipexrun", line 5, in <module>\n'
        "    from intel_extension_for_pytorch.launcher import main\n"
        "ImportError: /w/venv/lib/python3.10/site-packages/torch/lib/libtorch_cpu.so: undefined "
        "symbol: iJIT_NotifyEvent\n",
        1,
        "missing_module",
        ("MKL",),
    ),
    Report(
        "an audio library for another torch, as ctypes says it",
        "pytorch/audio#2020",
        main(
            "OSError: /w/venv/lib/python3.8/site-packages/torchaudio/_torchaudio.so: undefined "
            "symbol: _ZNK2at6Tensor7is_cudaEv",
            '  File "/usr/lib/python3.8/ctypes/__init__.py", line 373, in __init__\n'
            "    self._handle = _dlopen(self._name, mode)\n",
        ),
        1,
        "exit",
        ("_torchaudio.so", "built for other versions"),
    ),
    Report(
        "an extension for another torch",
        "grokuku/stable-diffusion#99",
        main(
            "ImportError: /w/env/lib/python3.12/site-packages/ext/_C.cpython-312.so: undefined "
            "symbol: _ZN3c104cuda9SetDeviceEa"
        ),
        1,
        "exit",
        ("_C.cpython-312.so", "built for other versions"),
    ),
    Report(
        "a library of ROCm that wants an executable stack",
        "AUTOMATIC1111/stable-diffusion-webui#17051",
        main(
            "ImportError: libamdhip64.so: cannot enable executable stack as shared object "
            "requires: Invalid argument",
            _TORCH,
        ),
        1,
        "exit",
        ("libamdhip64.so", "executable stack", "patchelf"),
    ),
    Report(
        "a library that is damaged",
        "easydiffusion/easydiffusion#500",
        main(
            "OSError: /w/env/lib/python3.8/site-packages/torch/lib/../../../../libmkl_core.so: "
            "invalid ELF header"
        ),
        1,
        "exit",
        ("libmkl_core.so", "damaged"),
    ),
    Report(
        "no room for the variables of a thread, which is no lack of memory",
        "LibrePhotos/librephotos-linux#40",
        main(
            "ImportError: /lib/aarch64-linux-gnu/libgomp.so.1: cannot allocate memory in static "
            "TLS block"
        ),
        1,
        "exit",
        ("libgomp.so.1", "LD_PRELOAD"),
        ("ran out of memory",),
    ),
    # ---- that cuDNN looks for when it is used, and then aborts
    Report(
        "a library of CUDA that cuDNN wants",
        "kijai/ComfyUI-LivePortraitKJ#38",
        f"{RUNNING}Load spade_generator done.\nLoad stitching_retargeting_module done.\n{_CUDNN}"
        "Aborted (core dumped)\n",
        "SIGABRT",
        "missing_module",
        ("libnvrtc.so",),
    ),
    Report(
        "the driver's library, wanted by cuDNN behind a bar, in a shell that speaks Chinese",
        "OpenTalker/SadTalker#323",
        f"{RUNNING}landmark Det::   0%|                | 0/1 [00:00<?, ?it/s]"
        f"{_CUDNN.replace('libnvrtc', 'libcuda')}"
        "Please make sure libcudnn_cnn_infer.so.8 is in your library path!\n"
        "\u5df2\u653e\u5f03 (\u6838\u5fc3\u5df2\u8f6c\u50a8)\n",
        134,
        "missing_module",
        ("libcuda.so",),
        ("Please make sure", "Det"),
    ),
    Report(
        "cuDNN itself, in a shell that speaks Spanish",
        "jhj0517/Whisper-WebUI#294",
        f"{RUNNING}Could not load library libcudnn_ops_infer.so.8. Error: "
        "libcudnn_ops_infer.so.8: cannot open shared object file: No such file or directory\n"
        "./start.sh: l\u00ednea 4:  6516 Abortado         (`core' generado) python main.py\n",
        134,
        "missing_module",
        ("libcudnn_ops_infer.so.8",),
    ),
    Report(
        "parts of two cuDNNs",
        "naver/dust3r#198",
        f"{RUNNING}Could not load library libcudnn_cnn_infer.so.8. Error: "
        "/usr/lib/x86_64-linux-gnu/libcudnn_cnn_infer.so.8: undefined symbol: "
        "_ZN5cudnn3ops18GetInternalStreamsEP12cudnnContextiPP11CUstream_st, version "
        "libcudnn_ops_infer.so.8\nAborted (core dumped)\n",
        134,
        "missing_module",
        ("libcudnn_cnn_infer.so.8", "another version"),
    ),
    Report(
        "a cuDNN of the ninth generation",
        "daswer123/xtts-finetune-webui#18",
        f"{RUNNING}{BAR}Unable to load any of {{libcudnn_ops.so.9.1.0, libcudnn_ops.so.9.1, "
        "libcudnn_ops.so.9, libcudnn_ops.so}\nInvalid handle. Cannot load symbol "
        "cudnnCreateTensorDescriptor\nAborted (core dumped)\n",
        134,
        "missing_module",
        ("libcudnn_ops.so.9.1.0",),
        ("Invalid handle",),
    ),
    # ---- that crash while they are loaded
    Report(
        "a crash at the import of torch, where another library was missing before",
        "Comfy-Org/ComfyUI#13241",
        "comfy-aimdo failed to load: libcuda.so.1: cannot open shared object file: No such file or "
        "directory\nNOTE: comfy-aimdo is currently only support for Nvidia GPUs\n[START] Security "
        "scan\n[DONE] Security scan\n** ComfyUI startup time: 2026-03-31 21:27:21.217\n",
        "SIGSEGV",
        "segmentation_fault",
        (),
        ("libcuda",),
    ),
    Report(
        "a crash after pip found packages that do not fit",
        "Starnodes2024/ComfyUI_StarBetaNodes#1",
        f"{START}[!]  ERROR: pip's dependency resolver does not currently take into account all "
        "the packages that are installed.\n[!] mediapipe 0.10.21 requires numpy<2, but you have "
        "numpy 2.3.3 which is incompatible.\n",
        139,
        "segmentation_fault",
        (),
        ("numpy",),
    ),
    Report(
        "a C++ library of the system that is older than that of conda",
        "saturncloud/images#483",
        main(
            "ImportError: /lib/x86_64-linux-gnu/libstdc++.so.6: version `CXXABI_1.3.15' not found "
            "(required by /w/venv/lib/python3.12/site-packages/scipy/optimize/_highspy/_core.so)"
        ),
        1,
        "missing_module",
        ("CXXABI_1.3.15",),
    ),
    Report(
        "a torch that lost its NCCL to another package",
        "Comfy-Org/ComfyUI#3164",
        main(
            "ImportError: /workspace/ComfyUI/venv/lib/python3.10/site-packages/torch/lib/"
            "libtorch_cuda.so: undefined symbol: ncclCommRegister",
            _TORCH,
        ),
        1,
        "missing_module",
        ("NCCL", "reinstall torch"),
    ),
    Report(
        "a library for an older NumPy, which says so before the traceback",
        "Emerge-Lab/gpudrive#373",
        f"{START}RuntimeError: module compiled against ABI version 0x1000009 but this version of "
        "numpy is 0x2000000\n"
        + main("ImportError: numpy.core.multiarray failed to import").removeprefix(START),
        1,
        "missing_module",
        ("are incompatible",),
    ),
    Report(
        "a library for another NumPy, with the error that led to it",
        "OpenTalker/SadTalker#343",
        f"{START}RuntimeError: module compiled against API version 0xf but this version of numpy "
        "is 0xe\n"
        + main(
            "ImportError: numpy.core.multiarray failed to import",
            '  File "/w/venv/lib/python3.10/site-packages/scipy/io/matlab/_mio4.py", line 9, in '
            "<module>\n",
        ).removeprefix(START),
        1,
        "missing_module",
        ("are incompatible",),
    ),
    Report(
        "a C++ library that is too old for a node, and another end",
        "Gourieff/comfyui-reactor-node#494",
        START
        + node(
            "ImportError: /lib/libstdc++.so.6: version `GLIBCXX_3.4.32' not found (required by "
            "/w/venv/lib/python3.11/site-packages/insightface/mesh_core_cython.so)",
            "comfyui-reactor-node",
        )
        + main("RuntimeError: No CUDA GPUs are available").removeprefix(START),
        1,
        "missing_driver",
        (),
        ("GLIBCXX", "reactor"),
    ),
]
