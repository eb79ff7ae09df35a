"""Output around an exit that does not explain it."""

from tests.unit.comfyui.last_words import RUNNING, START
from tests.unit.comfyui.reports.shape import BAR, IN_USE, NUMPY, Report, caught, main

ENDINGS = [
    Report(
        "a port that is taken, in the words of 0.20",
        "Comfy-Org/ComfyUI: server.py",
        "\x1b[32m[INFO]\x1b[0m Starting server\n\n\x1b[1m\x1b[31m[ERROR]\x1b[0m Port 3001 is "
        "already in use on address 0.0.0.0. Please close the other application or use a different "
        "port with --port.\n",
        1,
        "port_in_use",
        ("port 3001",),
    ),
    Report(
        "malware",
        "Comfy-Org/ComfyUI-Manager: security_check.py",
        "[START] Security scan\n\n## PROBLEM: ultralytics==8.3.41\n\n"
        "Malware has been detected, forcibly terminating ComfyUI execution.\n",
        255,
        "exit",
        ("malware",),
    ),
    Report(
        "a module that NumPy says was built for another NumPy",
        "kijai/ComfyUI-FluxTrainer#68",
        f"{NUMPY}{main('KeyError: 7')}{NUMPY}",
        1,
        "exit",
        ("KeyError: 7",),
        ("_ARRAY_API", "layers"),
    ),
    Report(
        "a log that takes no more bytes, after the end",
        "python/cpython: logging.Handler.handleError",
        f"{IN_USE}--- Logging error ---\nTraceback (most recent call last):\n"
        '  File "/usr/lib/python3.11/logging/__init__.py", line 1114, in emit\n    self.flush()\n'
        "OSError: [Errno 28] No space left on device\nCall stack:\n"
        '  File "/w/main.py", line 4, in <module>\n    logging.info("x")\n'
        "Message: 'Stopped'\nArguments: ()\n",
        1,
        "port_in_use",
        (),
        ("disk",),
    ),
    Report(
        "a task that nobody awaited, after the end",
        "python/cpython: asyncio/futures.py",
        f"{IN_USE}Task exception was never retrieved\n"
        "future: <Task finished name='Task-3' coro=<f() done> exception=MemoryError()>\n"
        "Traceback (most recent call last):\n"
        '  File "/w/custom_nodes/sync/__init__.py", line 3, in f\nMemoryError\n',
        1,
        "port_in_use",
        (),
        ("memory", "sync"),
    ),
    Report(
        "an object that is destroyed at the end",
        "python/cpython: sys.unraisablehook",
        f"{IN_USE}Exception ignored while calling deallocator <function P.__del__ at 0x7f>:\n"
        "Traceback (most recent call last):\n"
        '  File "/w/custom_nodes/pool/p.py", line 1, in __del__\n'
        "ModuleNotFoundError: No module named 'gone'\n",
        1,
        "port_in_use",
        (),
        ("gone",),
    ),
    Report(
        "a request that failed long before",
        "Kaouthia/ComfyUI-Docker#12",
        f"{RUNNING}Error handling request from 172.19.0.1\nTraceback (most recent call last):\n"
        '  File "/w/app/database/db.py", line 112, in create_session\n    return Session()\n'
        "MemoryError\nExiting on request of the watchdog\n",
        3,
        "exit",
        ("Exiting on request of the watchdog",),
        ("memory",),
    ),
    Report(
        "sockets that could not be accepted, which asyncio survives",
        "Comfy-Org/ComfyUI#9632",
        f"{RUNNING}socket.accept() out of system resource\n"
        "socket: <asyncio.TransportSocket fd=49, family=2, type=1, laddr=('0.0.0.0', 8188)>\n"
        "Traceback (most recent call last):\n"
        '  File "/usr/lib/python3.12/socket.py", line 295, in accept\n'
        "OSError: [Errno 24] Too many open files\n",
        1,
        "exit",
        (),
        ("files",),
    ),
    Report(
        "a node that gives up in its own words",
        "a custom node that calls sys.exit",
        START + caught("ModuleNotFoundError: No module named 'onnxruntime'") + "[Beta] giving up\n",
        1,
        "exit",
        ("[Beta] giving up",),
        ("onnxruntime",),
    ),
    Report(
        "an exception with a cause",
        "huggingface/transformers: import_utils.py",
        f"{START}Traceback (most recent call last):\n"
        '  File "/w/venv/lib/python3.11/site-packages/transformers/utils.py", line 1, in _get\n'
        "ModuleNotFoundError: No module named 'flash_attn'\n\n"
        "The above exception was the direct cause of the following exception:\n\n"
        "Traceback (most recent call last):\n"
        '  File "/workspace/ComfyUI-comm/main.py", line 149, in <module>\n    import execution\n'
        "RuntimeError: Failed to import transformers.models because of the following error\n",
        1,
        "missing_module",
        ("flash_attn",),
    ),
    Report(
        "an error that was being handled when another came",
        "python/cpython: traceback.py",
        f"{START}Traceback (most recent call last):\n"
        '  File "/w/comfy/x.py", line 1, in f\n'
        "ModuleNotFoundError: No module named 'optional'\n\n"
        "During handling of the above exception, another exception occurred:\n\n"
        "Traceback (most recent call last):\n"
        '  File "/workspace/ComfyUI-comm/main.py", line 149, in <module>\n    import execution\n'
        "KeyError: 'dtype'\n",
        1,
        "exit",
        ("KeyError: 'dtype'",),
        ("optional",),
    ),
    Report(
        "a number that an error of another kind mentions",
        "a custom node that raises ValueError",
        main("ValueError: the answer was [Errno 28]"),
        1,
        "exit",
        ("the answer was",),
        ("disk",),
    ),
    Report(
        "a thread that fails while the program does, both writing at once",
        "python/cpython: threading.excepthook",
        IN_USE.replace("Traceback", "Exception in thread Thread-4 (fetch):\nTraceback", 1),
        1,
        "port_in_use",
        ("3001",),
    ),
    Report(
        "a worker of a loader that shared memory is too small for",
        "pytorch/pytorch#5040",
        main("RuntimeError: DataLoader worker (pid 325) is killed by signal: Bus error."),
        1,
        "disk_full",
        ("--shm-size",),
    ),
    Report(
        "messages of a thread that goes on until the end",
        "Comfy-Org/ComfyUI#7137",
        f"{IN_USE}FETCH ComfyRegistry Data: 5/98\n[ComfyUI-Manager] default cache updated\n"
        "Unclosed client session\nclient_session: <aiohttp.client.ClientSession object at 0x7f>\n",
        1,
        "port_in_use",
        ("3001",),
    ),
    Report(
        "a bar that is drawn when the process is ended",
        "tqdm/tqdm",
        f"{RUNNING}{BAR}Killed by the quota daemon\n",
        9,
        "exit",
        ("Killed by the quota daemon",),
        ("12%",),
    ),
    Report(
        "an interrupt while it loads",
        "Comfy-Org/ComfyUI: main.py",
        main("KeyboardInterrupt"),
        130,
        "signal",
        ("SIGINT",),
    ),
    Report("a wrapper that was terminated", "POSIX shells", RUNNING, 143, "signal", ("SIGTERM",)),
    Report("a wrapper with a bus error", "POSIX shells", RUNNING, 135, "signal", ("SIGBUS",)),
    Report(
        "a system call that is not allowed",
        "moby/moby: seccomp",
        RUNNING,
        "SIGSYS",
        "signal",
        ("seccomp",),
    ),
]
