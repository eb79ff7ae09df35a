"""docs/reference/files.md lists every file that a daemon and its instances create."""

import re
from pathlib import Path

from tests.cli.shell import Shell
from tests.scenarios.harness import Daemon
from tests.unit.docs.pages import page, words

PLACES = {"id": r"\d+", "generation": r"\d+", "env": r"[\w.-]+"}

DRAFTS = re.compile(r".*\.(draft|new)")
"""Files that are being replaced, as the page says."""


def _pattern(name: str) -> str:
    """Return a pattern for a name of the page, such as `comfyui_instance_<id>.log`."""
    parts = re.split(r"<(\w+)>", name.rstrip("/"))
    return "".join(
        PLACES.get(part, ".+") if place % 2 else re.escape(part) for place, part in enumerate(parts)
    )


def _unnamed(directory: Path) -> list[str]:
    """Return the files of a directory that are not on the page."""
    names = [*map(_pattern, words(page("reference/files.md")))]
    return [
        each.name
        for each in sorted(directory.rglob("*"))
        if not DRAFTS.fullmatch(each.name)
        and not any(re.fullmatch(name, each.name) for name in names)
    ]


async def test_every_file_on_disk_is_listed_on_the_page(daemon: Daemon, shell: Shell) -> None:
    await daemon.api.start(0, daemon.ports.reserve(), name="main")
    said = await shell.run("status")

    assert said.code == 0
    assert _unnamed(daemon.run_dir) == []
    assert _unnamed(daemon.log_dir) == []
    assert [each.name for each in daemon.workspace.glob(".*")] == [".comfysup-instances.lock"]
