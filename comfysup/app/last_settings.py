"""The last valid settings of a daemon since the container started.

A daemon that restarts must not exit because, for example, a token file has been removed meanwhile:
its instances keep running and need supervision. The file holds no token, only the data to verify
one.
"""

import json
import os
import stat
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from cattrs import Converter

from comfysup.config.run_location import SHARED
from comfysup.config.settings import Settings
from comfysup.linux.host.boot_identity import BootIdentity
from comfysup.linux.rundir.state_file import StateFile, read_regular


def remember(file: StateFile, settings: Settings, life: BootIdentity) -> None:
    """Write the settings unless the file holds them already; `file.problem` reports a failure."""
    written = _converter().unstructure(replace(settings, warnings=(), mistakes=()))
    content = json.dumps({**asdict(life), "settings": written}, default=sorted).encode()
    with suppress(OSError):
        if file.read() == content:
            return
    file.write(content)


def last_good(file: Path, life: BootIdentity) -> Settings | None:
    """Return the settings that `remember` wrote since the container started, or None."""
    try:
        directory = file.parent.stat(follow_symlinks=False)
        if directory.st_uid != os.geteuid() or directory.st_mode & SHARED:
            return None
        if not stat.S_ISDIR(directory.st_mode):
            return None
        members = json.loads(read_regular(file))
        if not isinstance(members, Mapping):
            return None
        if {name: members.get(name) for name in asdict(life)} != asdict(life):
            return None
        return _converter().structure(members["settings"], Settings)
    except Exception:  # noqa: BLE001 - own leftovers are never trusted
        return None


def instead_of(partial: Settings, last: Settings, mistakes: tuple[str, ...]) -> Settings:
    """Return the last valid settings, with present or else last tokens and allowed hosts."""
    return replace(
        last,
        token=partial.token or last.token,
        read_token=partial.read_token or last.read_token,
        allowed_hosts=partial.allowed_hosts or last.allowed_hosts,
        mistakes=mistakes,
    )


def _converter() -> Converter:
    converter = Converter()
    converter.register_unstructure_hook(Path, str)

    def path(written: Any, _kind: type[Path]) -> Path:  # noqa: ANN401 - JSON
        return Path(written)

    converter.register_structure_hook(Path, path)
    return converter
