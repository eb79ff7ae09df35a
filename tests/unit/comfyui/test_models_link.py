"""The shared-models layout, from every kind of beginning: no file is ever lost.

Each layout is checked alike: the checksums of all files of the workspace, as often as they occur,
are the same afterwards; the environment sees every model that it saw, under the same name; a second
run changes nothing.
"""

import shutil
from pathlib import Path

import pytest

from comfysup.comfyui.environment.models_link import FOLDERS
from tests.unit.comfyui.layouts import (
    PARTIAL,
    WHOLE,
    Layout,
    Place,
    a_real_directory,
    check,
    conflicts,
    files_in_both,
    links_inside,
    nested,
    twins,
)


@pytest.mark.parametrize("layout", WHOLE, ids=lambda each: each.__name__)
def test_models_becomes_a_link_and_no_file_is_lost(place: Place, layout: Layout) -> None:
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


def test_a_duplicate_file_is_set_aside_and_reported(place: Place) -> None:
    report = check(place, twins)

    aside = place.environment / "models.duplicates" / "vae"
    assert sorted(report.aside) == [str(aside / "hard"), str(aside / "same")]
    assert (aside / "same").read_text() == "the same"


@pytest.mark.parametrize("layout", [a_real_directory, files_in_both, links_inside, nested])
def test_models_are_copied_to_another_file_system(place: Place, layout: Layout) -> None:
    place.shared = place.elsewhere / "shared-models"
    assert place.elsewhere.stat().st_dev != place.root.stat().st_dev

    assert check(place, layout).linked


def test_a_file_created_during_linking_is_left(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model is saved at the moment in which the directory is replaced."""
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


def test_links_inside_the_models_point_inside_the_shared_ones(place: Place) -> None:
    """Like those of a Hugging Face cache: they must not point through the environment."""
    place.write("ComfyUI-comm/models/LLM/blobs/sha")
    snapshots = place.models / "LLM" / "snapshots" / "one"
    snapshots.mkdir(parents=True)
    (snapshots / "model.safetensors").symlink_to("../../blobs/sha")

    assert place.link().linked
    place.environment.rename(place.environment.with_name("ComfyUI-renamed"))

    shared = place.shared / "LLM" / "snapshots" / "one" / "model.safetensors"
    assert str(shared.readlink()) == "../../blobs/sha"
    assert shared.is_file()
