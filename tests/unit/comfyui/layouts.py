"""Workspaces whose models are laid out in every possible way."""

import hashlib
import os
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from comfysup.comfyui.environment.models_link import link_models
from comfysup.model.environment import LinkReport


@dataclass
class Place:
    """A workspace with one environment, and a directory outside of it on another file system."""

    root: Path
    elsewhere: Path
    models: Path = field(init=False)
    shared: Path = field(init=False)

    def __post_init__(self) -> None:
        self.environment = self.root / "ComfyUI-comm"
        self.environment.mkdir(parents=True)
        self.models = self.environment / "models"
        self.shared = self.root / "shared-models"

    def write(self, path: str, content: str = "") -> None:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content or f"model {path}")

    def link(self) -> LinkReport:
        return link_models(self.environment, self.shared)

    def checksums(self) -> Counter[str]:
        """Return the checksums of all files with their counts, without links."""
        return Counter(
            hashlib.sha256(file.read_bytes()).hexdigest()
            for top in (self.root, self.elsewhere)
            for file in top.rglob("*")
            if file.is_file() and not file.is_symlink()
        )

    def seen(self) -> dict[str, bytes]:
        """Return the files that ComfyUI finds, which follows links."""
        found = {}
        for directory, _, names in os.walk(self.models, followlinks=True):
            for name in names:
                file = Path(directory, name)
                if file.is_file():
                    found[str(file.relative_to(self.models))] = file.read_bytes()
        return found

    def tree(self) -> dict[str, str]:
        """Return all paths, with the targets of links."""
        return {
            str(path): str(path.readlink()) if path.is_symlink() else str(path.stat().st_ino)
            for path in self.root.rglob("*")
        }


# ---- the layouts


def nothing(place: Place) -> None:
    pass


def linked(place: Place) -> None:
    place.write("shared-models/vae/a")
    place.models.symlink_to(place.shared)


def linked_relatively(place: Place) -> None:
    place.write("shared-models/vae/a")
    place.models.symlink_to("../shared-models")


def a_real_directory(place: Place) -> None:
    place.write("ComfyUI-comm/models/checkpoints/a.safetensors")
    place.write("ComfyUI-comm/models/checkpoints/put_checkpoints_here", "")
    place.write("ComfyUI-comm/models/configs/v1.yaml")
    (place.models / "loras" / "empty" / "deep").mkdir(parents=True)


def files_in_both(place: Place) -> None:
    a_real_directory(place)
    place.write("shared-models/checkpoints/b.safetensors")
    place.write("shared-models/vae/c")


def twins(place: Place) -> None:
    files_in_both(place)
    place.write("ComfyUI-comm/models/vae/same", "the same")
    place.write("shared-models/vae/same", "the same")
    (place.models / "vae" / "hard").hardlink_to(place.shared / "vae" / "same")
    (place.shared / "vae" / "hard").hardlink_to(place.shared / "vae" / "same")


def conflicts(place: Place) -> None:
    files_in_both(place)
    place.write("ComfyUI-comm/models/vae/same", "mine, not theirs")
    place.write("shared-models/vae/same", "theirs, not mine")
    place.write("ComfyUI-comm/models/upscale", "a file")
    place.write("shared-models/upscale/x")
    place.write("ComfyUI-comm/models/clip/x")
    place.write("shared-models/clip", "a file too")


def a_link_elsewhere(place: Place) -> None:
    (place.elsewhere / "x.safetensors").write_text("x")
    place.models.symlink_to(place.elsewhere)


def a_dangling_link(place: Place) -> None:
    place.write("shared-models/vae/a")
    place.models.symlink_to(place.root / "gone")


def links_inside(place: Place) -> None:
    (place.elsewhere / "big").mkdir()
    (place.elsewhere / "big" / "x.safetensors").write_text("x")
    place.write("ComfyUI-comm/models/checkpoints/a")
    place.write("ComfyUI-comm/other/outside")
    (place.models / "loras").symlink_to(place.elsewhere / "big")
    (place.models / "checkpoints" / "b").symlink_to("a")
    (place.models / "checkpoints" / "c").symlink_to("../../other/outside")
    (place.models / "checkpoints" / "gone").symlink_to("/nowhere/gone")
    (place.models / "checkpoints" / "loop").symlink_to("loop")


def shared_folder_by_folder(place: Place) -> None:
    place.write("shared-models/checkpoints/a")
    place.write("shared-models/loras/b")
    place.models.mkdir()
    (place.models / "checkpoints").symlink_to("../../shared-models/checkpoints")
    (place.models / "loras").symlink_to(place.shared / "loras")
    place.write("ComfyUI-comm/models/vae/c")


def nested(place: Place) -> None:
    for depth in range(1, 30):
        place.write("ComfyUI-comm/models/" + "/".join("d" * depth) + "/file", f"at {depth}")
    place.write("ComfyUI-comm/models/ü \n'/ñ.bin")


def shared_is_a_link(place: Place) -> None:
    a_real_directory(place)
    place.shared.symlink_to(place.elsewhere)


def shared_has_links_to_here(place: Place) -> None:
    a_real_directory(place)
    place.write("ComfyUI-comm/models/vae/x")
    place.write("shared-models/loras/y")
    (place.shared / "vae").symlink_to(place.models / "vae")
    (place.shared / "checkpoints").mkdir()
    (place.shared / "checkpoints" / "a.safetensors").symlink_to(
        place.models / "checkpoints" / "a.safetensors"
    )


def shared_is_a_link_to_here(place: Place) -> None:
    a_real_directory(place)
    place.shared.symlink_to(place.models)


def shared_is_a_file(place: Place) -> None:
    a_real_directory(place)
    place.write("shared-models")


def models_is_a_file(place: Place) -> None:
    place.write("ComfyUI-comm/models")


def a_pipe(place: Place) -> None:
    a_real_directory(place)
    os.mkfifo(place.models / "pipe")


def died_in_between(place: Place) -> None:
    place.write("ComfyUI-comm/models.linking/vae/late")
    (place.environment / "models.linking" / "loras").mkdir()
    place.write("shared-models/vae/a")


Layout = Callable[[Place], None]
WHOLE: list[Layout] = [
    nothing,
    linked,
    linked_relatively,
    a_real_directory,
    files_in_both,
    twins,
    links_inside,
    shared_folder_by_folder,
    nested,
    shared_is_a_link,
    died_in_between,
]
"""Those after which `models` is the link."""
PARTIAL: list[Layout] = [
    conflicts,
    a_link_elsewhere,
    a_dangling_link,
    shared_has_links_to_here,
    shared_is_a_link_to_here,
    shared_is_a_file,
    models_is_a_file,
    a_pipe,
]
"""Those with something that is left, and said."""


def check(place: Place, layout: Layout) -> LinkReport:
    """Link, and check the invariants of every layout; return the report of the first run."""
    layout(place)
    if (place.environment / "models.linking").exists():
        shutil.copytree(place.environment / "models.linking", place.models)
        before = place.seen()
        shutil.rmtree(place.models)
    else:
        before = place.seen()
    checksums = place.checksums()

    report = place.link()

    assert place.checksums() == checksums
    seen = place.seen()
    assert {name: seen.get(name) for name in before} == before
    tree = place.tree()
    again = place.link()
    assert place.tree() == tree
    assert (again.done, again.moved, again.aside) == ([], [], [])
    assert again.linked == report.linked
    assert again.left == report.left
    return report
