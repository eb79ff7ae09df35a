"""Where the run directory is. Imports nothing: `comfysup health` begins here."""

from collections.abc import Mapping

SOCKET_NAME = "api.sock"


def run_location(environ: Mapping[str, str], uid: int) -> str:
    """Return the path of the run directory for a user; it is never on a volume."""
    if chosen := environ.get("COMFYSUP_RUN_DIR", "").strip():
        return chosen
    if uid == 0:
        return "/run/comfysup"
    # The standard for XDG_RUNTIME_DIR says that a relative path is to be ignored.
    if (runtime := environ.get("XDG_RUNTIME_DIR", "")).startswith("/"):
        return f"{runtime}/comfysup"
    return f"/tmp/comfysup-{uid}"  # noqa: S108 - created 0700, its owner is checked
