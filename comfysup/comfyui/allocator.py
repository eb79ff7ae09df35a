"""Finds tcmalloc, which the scripts before this program preloaded where it was installed.

torch frees and takes large blocks all the time; with glibc's malloc the memory of a ComfyUI that
changes its models grows without end.
"""

import os
import platform
import re
import subprocess

_ENTRY = re.compile(r"^\s*(libtcmalloc(?:_minimal)?\.so\.\d+) \((.*?)\) => (\S.*)$", re.MULTILINE)
_MACHINES = {"x86_64": "x86-64", "aarch64": "AArch64"}
_ALLOCATORS = ("tcmalloc", "jemalloc", "mimalloc")


def find_tcmalloc() -> str | None:
    """Return the path of the first tcmalloc that the dynamic linker knows, the full one first.

    Runs `ldconfig -p` (milliseconds, at most 5 s): call it once, from a thread.
    """
    for command in ("/sbin/ldconfig", "/usr/sbin/ldconfig"):
        try:
            listing = subprocess.run(  # noqa: S603  # a fixed command
                [command, "-p"],
                capture_output=True,
                timeout=5,
                check=False,
                env={"LC_ALL": "C"},
            )
        except (OSError, subprocess.TimeoutExpired):
            continue
        return tcmalloc_in(os.fsdecode(listing.stdout), platform.machine())
    return None


def tcmalloc_in(listing: str, machine: str) -> str | None:
    """Pick tcmalloc from what `ldconfig -p` printed; a library of another machine is no use."""
    architecture = _MACHINES.get(machine, "")
    found = [
        (name, path) for name, traits, path in _ENTRY.findall(listing) if architecture in traits
    ]
    found.sort(key=lambda entry: "_minimal" in entry[0])
    return found[0][1] if found else None


def preloaded(existing: str, library: str | None) -> str:
    """Return the `LD_PRELOAD` that adds `library` to `existing`, unless that has an allocator."""
    if library is None or any(allocator in existing for allocator in _ALLOCATORS):
        return existing
    return f"{existing}:{library}" if existing else library
