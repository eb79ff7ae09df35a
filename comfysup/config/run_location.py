"""The path of the run directory. Few imports, because `comfysup health` starts here."""

import os
import stat
from collections.abc import Mapping

SOCKET_NAME = "api.sock"
SETTINGS_NAME = "settings.json"

SHARED = stat.S_IWGRP | stat.S_IWOTH
"""The mode bits that let other users create and rename files in a directory."""


def run_location(environ: Mapping[str, str], uid: int) -> str:
    """Return the path of the run directory for a user; it is never on a volume."""
    return own_part(chosen(environ, uid), uid)


def own_part(path: str, uid: int) -> str:
    """Return `path`, or a subdirectory of that user if other users can write to `path`.

    A Kubernetes emptyDir belongs to root and is writable for all. The daemon and the command line
    use `comfysup-<uid>` in it. The same applies to a directory that root made for another user.
    """
    try:
        found = os.lstat(path)
    except OSError:
        return path
    given = found.st_uid == 0 != uid
    if stat.S_ISDIR(found.st_mode) and (found.st_mode & SHARED or given):
        return f"{path.rstrip('/')}/comfysup-{uid}"
    return path


def chosen(environ: Mapping[str, str], uid: int) -> str:
    """Return the directory that the variables name for a user, without accessing it."""
    if chosen := environ.get("COMFYSUP_RUN_DIR", "").strip():
        return chosen
    if uid == 0:
        return "/run/comfysup"
    # The XDG standard says that a relative XDG_RUNTIME_DIR must be ignored.
    if (runtime := environ.get("XDG_RUNTIME_DIR", "")).startswith("/"):
        return f"{runtime}/comfysup"
    return f"/tmp/comfysup-{uid}"  # noqa: S108 - created 0700, its owner is checked
