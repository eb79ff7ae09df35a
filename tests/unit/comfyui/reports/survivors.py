"""Errors that public reports tell of and that ComfyUI survived, before an end of another kind.

Most logs of ComfyUI hold some: none of them may explain the end that comes after.
"""

from tests.unit.comfyui.last_words import RUNNING, START
from tests.unit.comfyui.reports.shape import IN_USE, Report, main


def node(error: str, name: str, file: str = "__init__.py") -> str:
    """Return the output for a custom node that cannot be imported; `file` raises `error`."""
    path = f"/workspace/ComfyUI-comm/custom_nodes/{name}"
    return (
        "Traceback (most recent call last):\n"
        '  File "/workspace/ComfyUI-comm/nodes.py", line 2124, in load_custom_node\n'
        "    module_spec.loader.exec_module(module)\n"
        f'  File "{path}/{file}", line 22, in <module>\n    something()\n{error}\n\n'
        f"Cannot import {path} module for custom nodes: {error.partition(': ')[2]}\n"
    )


def prompt(error: str) -> str:
    """Return the output for a failed prompt."""
    return (
        f"got prompt\n!!! Exception during processing !!! {error.partition(': ')[2]}\n"
        "Traceback (most recent call last):\n"
        '  File "/workspace/ComfyUI-comm/execution.py", line 498, in execute\n'
        f"    output_data = await get_output_data(prompt_id)\n{error}\n\n"
        "Prompt executed in 7.13 seconds\n"
    )


_ALEMBIC = (
    "Context impl SQLiteImpl.\nWill assume non-transactional DDL.\nError upgrading database:\n"
    "Traceback (most recent call last):\n"
    '  File "/w/venv/lib/python3.12/site-packages/alembic/script/base.py", line 213, in '
    "_catch_revision_errors\n    yield\n"
    "alembic.script.revision.ResolutionError: No such revision or branch "
    "'0002_merge_to_asset_references'\n"
)
_GIT = (
    "Failed to execute startup-script: /w/custom_nodes/ComfyUI-Manager/prestartup_script.py / "
    "Failed to initialize: Bad git executable.\n"
    "The git executable must be specified in one of the following ways:\n"
    "    - be included in your $PATH\n    - be set via $GIT_PYTHON_GIT_EXECUTABLE\n\n"
    "All git commands will error until this is rectified.\n\n"
    "Example:\n    export GIT_PYTHON_REFRESH=quiet\n\n"
)
_RENAMED = IN_USE.removeprefix(START)
_SERVED = "Starting server\n\nTo see the GUI go to: http://0.0.0.0:3001\n"

SURVIVORS = [
    # ---- while it loads
    Report(
        "a library for another torch that ComfyUI's own nodes want",
        "SayanoAI/Comfy-RVC#19",
        START
        + node(
            "OSError: /w/torchaudio/lib/libtorchaudio.so: undefined symbol: _ZN3c105ErrorC2E", "x"
        )
        + _RENAMED,
        1,
        "port_in_use",
        (),
        ("torchaudio",),
    ),
    Report(
        "a library for another torch, and an abort without a word",
        "filliptm/ComfyUI_Fill-Nodes#6",
        START
        + node(
            "OSError: /w/torchaudio/lib/libtorchaudio.so: undefined symbol: _ZN3c105ErrorC2E",
            "ComfyUI_Fill-Nodes",
        ),
        "SIGABRT",
        "native_crash",
        (),
        ("torchaudio", "Fill-Nodes"),
    ),
    Report(
        "a library of the screen",
        "YanWenKun/ComfyUI-Docker#101",
        START
        + node(
            "ImportError: libGL.so.1: cannot open shared object file: No such file or directory",
            "comfyui-impact-subpack",
        )
        + "free(): invalid pointer\n",
        "SIGABRT",
        "native_crash",
        ("free(): invalid pointer",),
        ("libGL",),
    ),
    Report(
        "a module that a newer package no longer has",
        "chaojie/ComfyUI-CameraCtrl-Wrapper#6",
        START
        + node(
            "ModuleNotFoundError: No module named 'diffusers.models.transformer_2d'",
            "ComfyUI-CameraCtrl-Wrapper",
            "cameractrl/models/unet_blocks.py",
        )
        + "[Node] a license is missing, giving up\n",
        3,
        "exit",
        ("a license is missing",),
        ("transformer_2d",),
    ),
    Report(
        "a torch that is too old for one node",
        "kijai/ComfyUI-CogVideoXWrapper#232",
        "sageattn not found, using sdpa\n"
        + node(
            "AttributeError: module 'torch' has no attribute 'compiler'",
            "ComfyUI-CogVideoXWrapper",
        )
        + _RENAMED,
        1,
        "port_in_use",
        (),
        ("compiler", "sageattn"),
    ),
    Report(
        "a library that wants an executable stack, for one node",
        "AlekPet/ComfyUI_Custom_Nodes_AlekPet#118",
        START
        + node(
            "ImportError: libctranslate2-bc15bf3f.so.4.5.0: cannot enable executable stack as "
            "shared object requires: Invalid argument",
            "comfyui_custom_nodes_alekpet",
        )
        + "malloc(): corrupted top size\n",
        134,
        "native_crash",
        ("malloc(): corrupted top size",),
        ("ctranslate2", "patchelf"),
    ),
    Report(
        "a database of one node that is locked",
        "QuietNoise/comfyui_queue_manager#2",
        START
        + node("sqlite3.OperationalError: database is locked", "comfyui_queue_manager")
        + _RENAMED,
        1,
        "port_in_use",
        (),
        ("--database-url",),
    ),
    Report(
        "files that one node may not write",
        "ai-dock/comfyui#81",
        START
        + node(
            "PermissionError: [Errno 13] Permission denied: "
            "'/opt/ComfyUI/custom_nodes/ComfyUI-Manager/config.ini'",
            "ComfyUI-Manager",
        )
        + main("KeyError: 'config'").removeprefix(START),
        1,
        "exit",
        ("KeyError: 'config'",),
        ("config.ini",),
    ),
    Report(
        "the limit of inotify, for one node",
        "LAOGOU-666/ComfyUI-LG_HotReload#13",
        START
        + node("OSError: [Errno 28] inotify watch limit reached", "ComfyUI-LG_HotReload")
        + _RENAMED,
        1,
        "port_in_use",
        (),
        ("inotify", "disk"),
    ),
    Report(
        "a log of the Manager that may not be written",
        "Kaouthia/ComfyUI-Docker#5",
        "[ComfyUI-Manager] Logging failed: [Errno 13] Permission denied: "
        f"'/app/ComfyUI/user/comfyui.log'\n{START}Killed by the quota daemon\n",
        9,
        "exit",
        ("Killed by the quota daemon",),
        ("comfyui.log",),
    ),
    Report(
        "a start-up script that finds no git",
        "Comfy-Org/ComfyUI-Manager#1951",
        f"[START] Security scan\n[DONE] Security scan\n{_GIT}"
        + main("ModuleNotFoundError: No module named 'torchsde'"),
        1,
        "missing_module",
        ("'torchsde'",),
        ("git",),
    ),
    Report(
        "a start-up script that lacks a module",
        "PozzettiAndrea/ComfyUI-DepthAnythingV3#42",
        "[PRE] ComfyUI-Manager\n[2026-02-27 22:32:57.848] Failed to execute startup-script: "
        "/w/custom_nodes/ComfyUI-DepthAnythingV3/prestartup_script.py / No module named "
        f"'comfy_env'\n{_RENAMED}",
        1,
        "port_in_use",
        (),
        ("comfy_env",),
    ),
    Report(
        "a database that could not be brought up to date, and an abort",
        "Comfy-Org/ComfyUI#13063",
        f"{START}{_ALEMBIC}",
        "SIGABRT",
        "native_crash",
        (),
        ("revision", "database"),
    ),
    Report(
        "a database of a newer ComfyUI, which that version goes on without",
        "Comfy-Org/ComfyUI#12977",
        f"{START}[2026-03-16 03:20:20.181] Failed to initialize database. Please ensure you have "
        "installed the latest requirements. If the error persists, please report this as in future "
        "the database will be required: Can't locate revision identified by "
        f"'0002_merge_to_asset_references'\n[2026-03-16 03:20:20.231] {_SERVED}"
        "terminate called without an active exception\n",
        134,
        "native_crash",
        ("terminate called",),
        ("database", "newer"),
    ),
    # ---- while it runs
    Report(
        "a prompt without a kernel for this GPU",
        "Comfy-Org/ComfyUI#10326",
        f"{RUNNING}"
        + prompt(
            "RuntimeError: CUDA error: no kernel image is available for execution on the device"
        ),
        1,
        "exit",
        (),
        ("not built for this GPU",),
    ),
    Report(
        "a prompt without a compiler",
        "kijai/ComfyUI-CogVideoXWrapper#187",
        f"{RUNNING}"
        + prompt("RuntimeError: Failed to find C compiler. Please specify via CC environment")
        + "corrupted size vs. prev_size\n",
        "SIGABRT",
        "native_crash",
        ("corrupted size vs. prev_size",),
        ("compiler",),
    ),
    Report(
        "a prompt whose CUDA code is for another driver",
        "kijai/ComfyUI-WanAnimatePreprocess#4",
        f"{RUNNING}"
        + prompt(
            "onnxruntime.capi.Fail: [ONNXRuntimeError] : 1 : FAIL : Status Message: CUDA error "
            "cudaErrorInvalidPtx:a PTX JIT compilation failed"
        )
        + "FETCH ComfyRegistry Data [DONE]\n",
        1,
        "exit",
        (),
        ("PTX", "GPU"),
    ),
    Report(
        "a prompt with a NumPy of another kind",
        "Comfy-Org/ComfyUI#5614",
        f"{RUNNING}"
        + prompt(
            "ValueError: numpy.dtype size changed, may indicate binary incompatibility. Expected "
            "96 from C header, got 88 from PyObject"
        )
        + "Exiting on request of the watchdog\n",
        3,
        "exit",
        ("Exiting on request of the watchdog",),
        ("numpy",),
    ),
    Report(
        "a recursion that ended the thread of prompts, and a stop of the container",
        "rgthree/rgthree-comfy#190",
        f"{RUNNING}Exception in thread Thread-1 (prompt_worker):\n"
        "Traceback (most recent call last):\n"
        '  File "/usr/lib/python3.11/threading.py", line 1045, in _bootstrap_inner\n'
        '  File "/workspace/ComfyUI-comm/main.py", line 111, in prompt_worker\n'
        "    e.execute(item[2], prompt_id, item[3], item[4])\n"
        "RecursionError: maximum recursion depth exceeded while calling a Python object\n",
        143,
        "signal",
        ("SIGTERM",),
        ("recursion",),
    ),
]
