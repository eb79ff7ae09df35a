"""The shared-models layout, from every kind of beginning: no file is ever lost.

Each layout is checked alike: the checksums of all files of the workspace, as often as they occur,
are the same afterwards; the environment sees every model that it saw, under the same name; a second
run changes nothing.
"""

import errno
import fcntl
import hashlib
import multiprocessing
import os
import shutil
import signal
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from comfysup.comfyui.environment import moving
from comfysup.comfyui.environment.models_link import FOLDERS, link_models
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
        """All files below, as often as they occur; links count for nothing."""
        return Counter(
            hashlib.sha256(file.read_bytes()).hexdigest()
            for top in (self.root, self.elsewhere)
            for file in top.rglob("*")
            if file.is_file() and not file.is_symlink()
        )

    def seen(self) -> dict[str, bytes]:
        """What ComfyUI finds, which follows links."""
        found = {}
        for directory, _, names in os.walk(self.models, followlinks=True):
            for name in names:
                file = Path(directory, name)
                if file.is_file():
                    found[str(file.relative_to(self.models))] = file.read_bytes()
        return found

    def tree(self) -> dict[str, str]:
        """Everything that is there, links by what they say."""
        return {
            str(path): str(path.readlink()) if path.is_symlink() else str(path.stat().st_ino)
            for path in self.root.rglob("*")
        }


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    elsewhere = Path(tempfile.mkdtemp(dir="/dev/shm"))
    yield Place(tmp_path / "workspace", elsewhere)
    shutil.rmtree(elsewhere)


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
    """Link, and check what holds for every layout; returns the report of the first run."""
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


@pytest.mark.parametrize("layout", WHOLE, ids=lambda each: each.__name__)
def test_models_becomes_the_link_and_nothing_is_lost(place: Place, layout: Layout) -> None:
    report = check(place, layout)

    assert report.linked, report.left
    assert not report.left
    assert place.models.is_symlink()
    assert place.models.samefile(place.shared)
    assert all((place.shared / name).is_dir() for name in FOLDERS)
    assert not (place.environment / "models.linking").exists()


@pytest.mark.parametrize("layout", PARTIAL, ids=lambda each: each.__name__)
def test_unsafe_files_are_left_and_reported(place: Place, layout: Layout) -> None:
    report = check(place, layout)

    assert not report.linked
    assert report.left


def test_files_without_conflicts_are_shared_although_others_are_left(
    place: Place,
) -> None:
    report = check(place, conflicts)

    left = {Path(each.path).relative_to(place.models).as_posix() for each in report.left}
    assert left == {"vae/same", "upscale", "clip"}
    shared = place.shared / "checkpoints" / "a.safetensors"
    assert shared.is_file()
    assert not shared.is_symlink()
    assert (place.models / "checkpoints" / "a.safetensors").readlink() == shared


def test_linking_completes_once_the_conflicts_are_removed(place: Place) -> None:
    check(place, conflicts)
    for name in ("vae/same", "upscale", "clip"):
        source = place.models / name
        shutil.rmtree(source) if source.is_dir() else source.unlink()

    assert place.link().linked


def test_a_twin_is_put_aside_and_named(place: Place) -> None:
    report = check(place, twins)

    aside = place.environment / "models.duplicates" / "vae"
    assert sorted(report.aside) == [str(aside / "hard"), str(aside / "same")]
    assert (aside / "same").read_text() == "the same"


@pytest.mark.parametrize("layout", [a_real_directory, files_in_both, links_inside, nested])
def test_another_file_system_is_copied_to(place: Place, layout: Layout) -> None:
    place.shared = place.elsewhere / "shared-models"
    assert place.elsewhere.stat().st_dev != place.root.stat().st_dev

    assert check(place, layout).linked


def failing(number: int) -> Callable[..., None]:
    def fail(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    return fail


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS, errno.ENOSPC, errno.EIO])
def test_a_read_only_or_full_tree_leaves_all_as_it_was(
    place: Place, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    monkeypatch.setattr(moving, "_rename", failing(number))

    report = check(place, a_real_directory)

    assert os.strerror(number) in {each.reason for each in report.left}
    assert not report.linked


def test_a_full_disk_elsewhere_is_seen_before_copying(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.shared = place.elsewhere / "shared-models"
    full = shutil.disk_usage("/")._replace(free=3)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: full)

    report = check(place, a_real_directory)

    assert "not enough disk space" in {each.reason for each in report.left}


def test_a_copy_that_is_not_the_same_is_thrown_away(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.shared = place.elsewhere / "shared-models"
    copy2 = shutil.copy2

    def broken(source: Path, target: Path) -> None:
        copy2(source, target)
        with target.open("r+b") as file:
            file.write(b"\0")

    monkeypatch.setattr(shutil, "copy2", broken)

    report = check(place, a_real_directory)

    assert "it changed while it was copied" in {each.reason for each in report.left}
    assert not list(place.shared.rglob(".*"))


def test_a_copy_that_a_death_cut_off_is_removed_by_the_next_link(place: Place) -> None:
    place.shared = place.elsewhere / "shared-models"
    a_real_directory(place)
    dying = multiprocessing.get_context("fork").Process(target=link_and_die, args=(place,))
    dying.start()
    dying.join()
    assert dying.exitcode == -signal.SIGKILL
    (draft,) = place.shared.rglob(".*.comfysup-*")

    report = place.link()

    assert report.linked
    assert f"removed {draft}, an unfinished copy" in report.done
    assert not list(place.shared.rglob(".*"))


def link_and_die(place: Place) -> None:
    """Be killed in the middle of the first copy."""

    def die(_source: Path, target: Path) -> None:
        target.write_bytes(b"half")
        os.kill(os.getpid(), signal.SIGKILL)

    shutil.copy2 = die  # type: ignore[assignment]
    place.link()


def test_a_copy_that_another_process_still_writes_stays(place: Place) -> None:
    place.shared = place.elsewhere / "shared-models"
    a_real_directory(place)
    place.shared.mkdir()
    held = place.shared / ".other.comfysup-01234567"
    foreign = place.shared / ".other.comfysup-0123"
    foreign.write_text("not ours")
    with held.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        report = place.link()

    assert report.linked
    assert held.exists()
    assert foreign.exists()


def test_without_hard_links_nothing_is_overwritten_either(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Path, "hardlink_to", failing(errno.EPERM))

    assert check(place, files_in_both).linked


def test_a_file_created_during_linking_is_left(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody saves a model in the moment in which the directory is replaced."""
    a_real_directory(place)
    rename = Path.rename

    def late(source: Path, target: Path) -> Path:
        if source == place.models:
            (source / "checkpoints" / "late").write_text("late")
        return rename(source, target)

    monkeypatch.setattr(Path, "rename", late)

    report = place.link()

    [left] = report.left
    assert Path(left.path).read_text() == "late"


def test_links_within_the_models_lead_within_the_shared_ones(place: Place) -> None:
    """As those of a Hugging Face cache: they must not lead through the environment."""
    place.write("ComfyUI-comm/models/LLM/blobs/sha")
    snapshots = place.models / "LLM" / "snapshots" / "one"
    snapshots.mkdir(parents=True)
    (snapshots / "model.safetensors").symlink_to("../../blobs/sha")

    assert place.link().linked
    place.environment.rename(place.environment.with_name("ComfyUI-renamed"))

    shared = place.shared / "LLM" / "snapshots" / "one" / "model.safetensors"
    assert str(shared.readlink()) == "../../blobs/sha"
    assert shared.is_file()
