"""Incompatible modules, Python versions and arguments."""

from tests.unit.comfyui.last_words import START
from tests.unit.comfyui.reports.shape import USAGE, Report, main

PYTHON = [
    # ---- modules and libraries
    Report(
        "no torch",
        "Comfy-Org/ComfyUI#2752",
        main("ModuleNotFoundError: No module named 'torch'"),
        1,
        "missing_module",
        ("'torch'", "install it"),
    ),
    Report(
        "no torchvision, after an update of Python",
        "Comfy-Org/ComfyUI#6169",
        main(
            "ModuleNotFoundError: No module named 'torchvision'",
            '  File "/workspace/ComfyUI-comm/nodes.py", line 25, in <module>\n'
            "    import torchvision\n",
        ),
        1,
        "missing_module",
        ("'torchvision'",),
    ),
    Report(
        "a package that has the name of ComfyUI's own",
        "Comfy-Org/ComfyUI#10687",
        main("ModuleNotFoundError: No module named 'comfy'"),
        1,
        "missing_module",
        ("'comfy'", "hides it"),
        ("install",),
    ),
    Report(
        "a package whose metadata is missing",
        "python/cpython: Lib/importlib/metadata",
        main(
            "importlib.metadata.PackageNotFoundError: "
            "No package metadata was found for bitsandbytes"
        ),
        1,
        "missing_module",
        ("'bitsandbytes'",),
    ),
    Report(
        "a name that a newer package no longer has",
        "huggingface/huggingface_hub: cached_download",
        main(
            "ImportError: cannot import name 'cached_download' from 'huggingface_hub' "
            "(/w/venv/lib/python3.11/site-packages/huggingface_hub/__init__.py)"
        ),
        1,
        "missing_module",
        ("'huggingface_hub'", "'cached_download'", "another version"),
    ),
    Report(
        "a C++ library that is too old",
        "gcc: libstdc++.so.6",
        main(
            "ImportError: /lib/x86_64-linux-gnu/libstdc++.so.6: version `GLIBCXX_3.4.32' not "
            "found (required by /w/venv/lib/python3.11/site-packages/x.so)"
        ),
        1,
        "missing_module",
        ("GLIBCXX_3.4.32",),
    ),
    Report(
        "an extension that was built for another torch",
        "Dao-AILab/flash-attention: undefined symbol",
        main(
            "ImportError: /w/flash_attn_2_cuda.cpython-311-x86_64-linux-gnu.so: undefined symbol: "
            "_ZN3c105ErrorC2ENS_14SourceLocationESs"
        ),
        1,
        "exit",
        ("was built for other versions",),
    ),
    Report(
        "a library of CUDA that a wheel needs",
        "nunchux-ai/ComfyUI-nunchaku#746",
        main("ImportError: libcudart.so.13: cannot open shared object file: No such file"),
        1,
        "missing_module",
        ("libcudart.so.13",),
    ),
    # ---- Pythons that do not fit
    Report(
        "a Python that is too old for the syntax of types",
        "python/cpython: PEP 604",
        main("TypeError: unsupported operand type(s) for |: 'type' and 'NoneType'"),
        1,
        "wrong_python",
    ),
    Report(
        "an operand that no Python takes",
        "a custom node that writes 'Name' | None",
        main("TypeError: unsupported operand type(s) for |: 'str' and 'NoneType'"),
        1,
        "exit",
        ("unsupported operand",),
    ),
    Report(
        "a NumPy that is being replaced",
        "numpy/numpy: numpy/_core/__init__.py",
        main("ModuleNotFoundError: No module named 'numpy._core._multiarray_umath'"),
        1,
        "missing_module",
        ("are incompatible",),
    ),
    Report(
        "a Python without its standard library",
        "python/cpython: Python/pylifecycle.c",
        "Fatal Python error: init_fs_encoding: failed to get the Python codec of the filesystem "
        "encoding\nPython runtime state: core initialized\n"
        "ModuleNotFoundError: No module named 'encodings'\n\n"
        "Current thread 0x00007f (most recent call first):\n  <no Python frame>\n",
        1,
        "wrong_python",
    ),
    Report(
        "a module that a newer Python no longer has",
        "yolain/ComfyUI-Easy-Use#588",
        main(
            "ModuleNotFoundError: No module named 'distutils'",
            '  File "/w/venv/lib/python3.12/site-packages/transformers/loss/loss.py", line 19, '
            "in <module>\n    from distutils.version import LooseVersion\n",
        ),
        1,
        "missing_module",
        ("'distutils'", "setuptools"),
    ),
    Report(
        "packaging tools that are too old for Python",
        "sipherxyz/comfyui-art-venture#63",
        main(
            "AttributeError: module 'pkgutil' has no attribute 'ImpImporter'. Did you mean: "
            "'zipimporter'?",
            '  File "/w/venv/lib/python3.12/site-packages/pkg_resources/__init__.py", line 2191, '
            "in <module>\n    register_finder(pkgutil.ImpImporter, find_on_path)\n",
        ),
        1,
        "missing_module",
        ("setuptools", "-U setuptools"),
    ),
    Report(
        "packaging tools that are too old for Python, in other words",
        "sipherxyz/comfyui-art-venture#59",
        main(
            "ImportError: cannot import name 'ImpImporter' from 'pkgutil' "
            "(/usr/lib/python3.12/pkgutil.py)"
        ),
        1,
        "missing_module",
        ("-U setuptools",),
    ),
    Report(
        "a Python that was built without a module of its own",
        "Tavris1/ComfyUI-Easy-Install#128",
        main(
            "ModuleNotFoundError: No module named '_lzma'",
            '  File "/usr/lib/python3.12/lzma.py", line 27, in <module>\n    from _lzma import *\n',
        ),
        1,
        "wrong_python",
        ("'_lzma'",),
        ("install it into",),
    ),
    Report(
        "a Python without its database",
        "gokayfem/ComfyUI_VLM_nodes#132",
        main(
            "ModuleNotFoundError: No module named '_sqlite3'",
            '  File "/usr/lib/python3.10/sqlite3/dbapi2.py", line 27, in <module>\n'
            "    from _sqlite3 import *\n",
        ),
        1,
        "wrong_python",
        ("'_sqlite3'",),
    ),
    Report(
        "a Python that is too old for the types of ComfyUI",
        "Comfy-Org/ComfyUI#3937",
        "Traceback (most recent call last):\n"
        '  File "main.py", line 6, in <module>\n    import folder_paths\n'
        '  File "/w/ComfyUI/folder_paths.py", line 5, in <module>\n'
        "    supported_pt_extensions: set[str] = set(['.ckpt', '.pt'])\n"
        "TypeError: 'type' object is not subscriptable\n",
        1,
        "wrong_python",
        ("newer Python",),
    ),
    Report(
        "a text that the locale cannot show, while an error of a node is logged",
        "chflame163/ComfyUI_LayerStyle#420",
        f"{START}Traceback (most recent call last):\n"
        '  File "/w/custom_nodes/comfyui_layerstyle/__init__.py", line 44, in <module>\n'
        "UnicodeEncodeError: 'gbk' codec can't encode character '\\U0001f63a' in position 2\n\n"
        "During handling of the above exception, another exception occurred:\n\n"
        + main(
            "UnicodeEncodeError: 'gbk' codec can't encode character '\\U0001f63a' in position 144: "
            "illegal multibyte sequence"
        ).removeprefix(START),
        1,
        "exit",
        ("gbk", "LANG=C.UTF-8"),
    ),
    # ---- arguments
    Report(
        "arguments that a ComfyUI of that age does not know",
        "Comfy-Org/ComfyUI#3391",
        f"{USAGE}main.py: error: unrecognized arguments: --tls-keyfile key.pem --tls-certfile "
        "cert.pem\n",
        2,
        "unknown_argument",
        ("--tls-keyfile key.pem",),
        ("did you mean",),
    ),
    Report(
        "a custom node that reads the command line",
        "AIFSH/ComfyUI-RVC#6",
        f"{START}Use Language: en_US\n{USAGE}"
        "main.py: error: unrecognized arguments: --listen --gpu-only --multi-user\n",
        2,
        "unknown_argument",
        ("a custom node reads the command line",),
        ("did you mean",),
    ),
    Report(
        "an argument that is gone",
        "Comfy-Org/ComfyUI: --normalvram",
        f"{USAGE}main.py: error: unrecognized arguments: --normalvram\n",
        2,
        "unknown_argument",
        ("--normalvram",),
        ("usage:",),
    ),
    Report(
        "a value that argparse refuses",
        "Comfy-Org/ComfyUI: --cuda-device",
        f"{USAGE}main.py: error: argument --cuda-device: invalid int value: 'cuda:0'\n",
        2,
        "unknown_argument",
        ("invalid int value",),
    ),
]
