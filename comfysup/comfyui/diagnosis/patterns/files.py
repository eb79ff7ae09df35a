"""Files, disks, limits and the database."""

from comfysup.comfyui.diagnosis.patterns.pattern import (
    ACCESS,
    DATABASE,
    DISK,
    FILE_LIMIT,
    OPERATION,
    REQUIREMENTS,
    SHARED_MEMORY,
    pattern,
)

FILES = (
    # ---- files
    pattern(
        "too_many_files",
        r"inotify (?:watch|instance) limit reached",
        "the kernel's limit of inotify watches is reached",
        "raise fs.inotify.max_user_watches and max_user_instances on the host (sysctl)",
    ),
    pattern(
        "disk_full",
        r"(?:unable to (?:write to|open|resize) (?:file|shared memory object) </torch_|/dev/shm)"
        r".*(?:No space left|\[Errno 28\])|\[Errno 28\].*'/dev/shm"
        r"|killed by signal: Bus error|insufficient shared memory",
        "/dev/shm is full",  # noqa: S108 - what it is called
        SHARED_MEMORY,
    ),
    pattern(
        "disk_full",
        r"\[Errno (?:28|122)\][^']*: '(?P<path>[^']+)'",
        "the disk of {path} is full, or a quota is used up",
        "make room there",
    ),
    pattern(
        "disk_full",
        r"^[\w.]+: \[Errno (?:28|122)\]|database or disk is full|No space left on device"
        r"|Disk quota exceeded|code: 28, kind: StorageFull",
        "the disk is full, or a quota is used up",
        DISK,
    ),
    pattern(
        "permission_denied",
        r"\[Errno 30\][^']*: '(?P<path>[^']+)'",
        "{path} lies on a file system that is mounted read-only",
        ACCESS,
    ),
    pattern(
        "permission_denied",
        r"\[Errno (?:1|13)\][^']*: '(?P<path>[^']+)'"
        r"|can't open file '(?P<script>[^']+)': \[Errno 13\]",
        "ComfyUI has no permission for {path}",
        ACCESS,
    ),
    pattern(
        "permission_denied",
        r"^(?:[\w.]+\.)?(?:PermissionError|OSError): \[Errno 1\][^']*$",
        "the system did not permit an operation",
        OPERATION,
    ),
    pattern(
        "permission_denied",
        r"^(?:[\w.]+\.)?PermissionError\b|^[\w.]+: \[Errno (?:1|13|30)\]"
        r"|code: 13, kind: PermissionDenied"
        r"|attempt to write a readonly database",
        "ComfyUI has no permission for a file that it needs",
        ACCESS,
    ),
    pattern(
        "too_many_files",
        r"^[\w.]+: \[Errno (?:23|24)\]|Too many open files|code: 24",
        "ComfyUI has too many files open",
        FILE_LIMIT,
    ),
    pattern(
        "exit",
        r"can't start new thread|pthread_create failed|blas_thread_init"
        r"|Resource temporarily unavailable",
        "the container allows no more threads",
        "raise its limit (docker run --pids-limit, --ulimit nproc)",
    ),
    pattern(
        "exit",
        r"(?P<what>\[Errno (?:5|107|112|116|121)\] .+)",
        "a disk or a volume failed: {what}",
        "check that the volume is mounted and responds, and the kernel log (dmesg) of the host",
    ),
    pattern(
        "exit",
        r"^FileNotFoundError: \[Errno 2\][^']*: '(?P<path>[^']*/[^']*)'",
        "{path} does not exist",
        "check that its volume is mounted, or create it",
    ),
    # ---- the database
    pattern(
        "database_locked",
        r"ASSETS_STARTUP_FAILED: (?P<kind>in_use|locked)|database is locked|Database is locked"
        r"|Could not acquire lock on database",
        "its asset database is in use by another process",
        DATABASE,
    ),
    pattern(
        "database_newer",
        r"ASSETS_STARTUP_FAILED: newer_revision|Can't locate revision identified by",
        "its asset database was written by a newer ComfyUI",
        "update ComfyUI, name another --database-url, or pass --disable-assets",
    ),
    pattern(
        "database_corrupt",
        r"ASSETS_STARTUP_FAILED: corrupt|database disk image is malformed|file is not a database",
        "its asset database is damaged",
        "move the file aside; ComfyUI creates a new one; the last log lines name the file",
    ),
    pattern(
        "permission_denied",
        r"ASSETS_STARTUP_FAILED: (?P<kind>not_writable|path_blocked)",
        "its asset database cannot be written ({kind})",
        ACCESS,
    ),
    pattern(
        "missing_module",
        r"ASSETS_STARTUP_FAILED: missing_packages",
        "packages that the asset database needs are missing",
        f"{REQUIREMENTS}, or pass --disable-assets",
    ),
    pattern(
        "unknown_argument",
        r"ASSETS_STARTUP_FAILED: unsupported_url",
        "--database-url names a database that ComfyUI cannot use",
        "name a file, as sqlite:////path/to/comfyui.db",
    ),
    pattern(
        "database_failed",
        r"ASSETS_STARTUP_FAILED: (?P<kind>\w+)|unable to open database file",
        "its asset database could not be opened",
        "the last lines say what to do, or pass --disable-assets",
    ),
)
