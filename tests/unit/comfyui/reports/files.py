"""Files, and the database among them."""

from tests.unit.comfyui.last_words import START
from tests.unit.comfyui.reports.shape import IN_USE, Report, main

FILES = [
    # ---- files
    Report(
        "a directory of another user",
        "YanWenKun/ComfyUI-Docker#34",
        main("PermissionError: [Errno 13] Permission denied: '/home/runner/ComfyUI/user'"),
        1,
        "permission_denied",
        ("/home/runner/ComfyUI/user",),
    ),
    Report(
        "a volume that is read-only",
        "Comfy-Org/ComfyUI#5660",
        main("OSError: [Errno 30] Read-only file system: '/comfyui/temp'"),
        1,
        "permission_denied",
        ("/comfyui/temp", "read-only"),
    ),
    Report(
        "a call that a container's profile forbids",
        "moby/moby: docs of seccomp; os.sched_setaffinity, os.setpgid",
        main("PermissionError: [Errno 1] Operation not permitted"),
        1,
        "permission_denied",
        ("did not permit an operation",),
    ),
    Report(
        "a port that only root may open",
        "python/cpython: asyncio/base_events.py",
        main(
            "PermissionError: [Errno 13] error while attempting to bind on address "
            "('0.0.0.0', 80): permission denied"
        ),
        1,
        "permission_denied",
        ("port 80",),
    ),
    Report(
        "a disk that is full, by its path",
        "NVIDIA/Megatron-LM#878",
        main("OSError: [Errno 28] No space left on device: '/workspace/shared-models/.cache'"),
        1,
        "disk_full",
        ("/workspace/shared-models/.cache",),
    ),
    Report(
        "shared memory that is full",
        "idiap/ESLAM#20",
        main(
            "RuntimeError: unable to write to file </torch_31911_952036340_6686>: No space left "
            "on device (28)"
        ),
        1,
        "disk_full",
        ("/dev/shm", "--shm-size"),  # noqa: S108 - what it is called
        ("make room",),
    ),
    Report(
        "too many files",
        "Kosinkadink/ComfyUI-VideoHelperSuite#489",
        main("OSError: [Errno 24] Too many open files: '/workspace/ComfyUI-comm/output/a.png'"),
        1,
        "too_many_files",
        ("ulimit",),
    ),
    Report(
        "too many instances of inotify",
        "gorakhargosh/watchdog: inotify_c.py",
        main("OSError: [Errno 24] inotify instance limit reached"),
        1,
        "too_many_files",
        ("inotify",),
    ),
    Report(
        "too many threads",
        "python/cpython: Modules/_threadmodule.c",
        main("RuntimeError: can't start new thread"),
        1,
        "exit",
        ("--pids-limit",),
    ),
    Report(
        "no main.py",
        "Comfy-Org/ComfyUI#6861",
        "/w/venv/bin/python: can't open file '/w/ComfyUI-comm/main.py': [Errno 2] No such file or "
        "directory\n",
        2,
        "exit",
        ("/w/ComfyUI-comm/main.py",),
    ),
    # ---- the database
    Report(
        "a database that is locked",
        "biagiomaf/smart-comfyui-gallery#10",
        main("sqlite3.OperationalError: database is locked"),
        1,
        "database_locked",
        ("--database-url",),
    ),
    Report(
        "a database that ComfyUI goes on without",
        "Comfy-Org/ComfyUI#10035",
        f"{START}Failed to initialize database. Please ensure you have installed the latest "
        "requirements: (sqlite3.OperationalError) unable to open database file\n"
        "(Background on this error at: https://sqlalche.me/e/20/e3q8)\nStarting server\n\n"
        + IN_USE,
        1,
        "port_in_use",
        ("3001",),
        ("database",),
    ),
]
