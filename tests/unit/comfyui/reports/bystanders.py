"""Lines that public reports show of other processes, of logging and of fallbacks.

They stand in the log of an end that has nothing to do with them.
"""

from tests.unit.comfyui.last_words import RUNNING, START
from tests.unit.comfyui.reports.shape import IN_USE, Report, main
from tests.unit.comfyui.reports.survivors import node

_AFTER_START = IN_USE.removeprefix(START)
_LOGGING = (
    "--- Logging error ---\nTraceback (most recent call last):\n"
    '  File "/usr/lib/python3.12/logging/__init__.py", line 1163, in emit\n'
    "UnicodeEncodeError: 'ascii' codec can't encode character '\\u2705' in position 68: ordinal "
    "not in range(128)\nCall stack:\n"
    '  File "/workspace/ComfyUI-comm/main.py", line 303, in <module>\n'
    "    event_loop, _, start_all_func = start_comfyui()\n"
    '  File "/workspace/ComfyUI-comm/nodes.py", line 2170, in init_external_custom_nodes\n'
    "Message: 'loaded'\nArguments: ()\n"
)

BYSTANDERS = [
    Report(
        "a worker of Ray that loses its network, after the end",
        "OpenRLHF/OpenRLHF#621",
        f"{IN_USE}(RayWorker pid=92234, ip=172.19.24.110) [rank1]:[E1224 13:23:05.483840160 "
        "ProcessGroupNCCL.cpp:542] [Rank 12] Collective WorkNCCL(SeqNum=1) raised the following "
        "async exception: NCCL error: remote process exited or there was a network error\n",
        1,
        "port_in_use",
        (),
        ("NCCL",),
    ),
    Report(
        "a worker of Ray that aborts, and an exit of ComfyUI's own",
        "komikndr/raylight#70",
        f"{RUNNING}(RayCOMMTester pid=15299) terminate called after throwing an instance of "
        "'c10::DistBackendError'\n(RayCOMMTester pid=15299)   what():  NCCL error: invalid usage\n"
        "(raylet) A worker died or was killed while executing a task by an unexpected system "
        "error.\nfree(): invalid size\n",
        "SIGABRT",
        "native_crash",
        ("free(): invalid size",),
        ("NCCL", "terminate"),
    ),
    Report(
        "a worker of Ray whose memory was used up, and no word of ComfyUI",
        "OpenRLHF/OpenRLHF#265",
        f"{RUNNING}(raylet) A worker died or was killed while executing a task by an unexpected "
        "system error. There are some potential root causes. (1) The process is killed by SIGKILL "
        "by OOM killer due to high memory usage. (2) ray stop --force is called.\n",
        1,
        "exit",
        (),
        ("raylet", "memory"),
    ),
    Report(
        "a line that cannot be logged, with the stack of the program",
        "ComfyAssets/ComfyUI_PromptManager#13",
        f"{START}{_LOGGING}malloc(): invalid size (unsorted)\n",
        "SIGABRT",
        "native_crash",
        ("malloc(): invalid size",),
        ("ascii", "LANG"),
    ),
    Report(
        "a log of the Manager on a volume that is gone, at the exit",
        "Comfy-Org/ComfyUI#3371",
        f"{IN_USE}Exception ignored in atexit callback: <function close_log at 0x7f>\n"
        "Traceback (most recent call last):\n"
        '  File "/w/custom_nodes/ComfyUI-Manager/prestartup_script.py", line 288, in close_log\n'
        "OSError: [Errno 107] Transport endpoint is not connected\n",
        1,
        "port_in_use",
        (),
        ("volume", "Manager"),
    ),
    Report(
        "a front end that cannot be fetched",
        "Comfy-Org/ComfyUI_frontend#5480",
        f"{START}Initializing frontend: Comfy-Org/ComfyUI_frontend@latest, requesting version "
        "details from GitHub...\nFailed to initialize frontend: 403 Client Error: rate limit "
        "exceeded for url: https://api.github.com/repos/Comfy-Org/ComfyUI_frontend\n"
        f"Falling back to the default frontend.\n{_AFTER_START}",
        1,
        "port_in_use",
        (),
        ("403", "frontend"),
    ),
    Report(
        "a file beside a node that is no Python",
        "Comfy-Org/ComfyUI#6718",
        START
        + node("SyntaxError: source code string cannot contain null bytes", "._websocket_image.py")
        + _AFTER_START,
        1,
        "port_in_use",
        (),
        ("null bytes", "not valid Python"),
    ),
    Report(
        "a directory that is no node",
        "ModelTC/LightX2V#440",
        START
        + node(
            "FileNotFoundError: [Errno 2] No such file or directory: "
            "'/workspace/ComfyUI/custom_nodes/LightX2V/__init__.py'",
            "LightX2V",
        )
        + main("KeyError: 'dtype'").removeprefix(START),
        1,
        "exit",
        ("KeyError: 'dtype'",),
        ("LightX2V",),
    ),
    Report(
        "a module that Python no longer has, for a start-up script",
        "Comfy-Org/ComfyUI-Manager#536",
        "Failed to execute startup-script: /w/custom_nodes/ComfyUI-Manager/prestartup_script.py / "
        f"No module named 'distutils'\n{_AFTER_START}",
        1,
        "port_in_use",
        (),
        ("distutils", "setuptools"),
    ),
]
