from pathlib import Path

from comfysup.demo.workspace import build_environment


def test_an_environment_has_the_layout_that_comfyui_has(tmp_path: Path) -> None:
    environment = build_environment(tmp_path, "aua-sp")

    assert environment == tmp_path / "ComfyUI-aua-sp"
    assert (environment / "models").resolve() == tmp_path / "shared-models"
    assert (environment / "models" / "checkpoints").is_dir()
    assert (environment / "custom_nodes").is_dir()
    assert '__version__ = "' in (environment / "comfyui_version.py").read_text()
    assert (environment / "venv" / "bin" / "python").exists()


def test_rebuilding_an_environment_keeps_added_files(tmp_path: Path) -> None:
    environment = build_environment(tmp_path, "comm")
    (environment / "custom_nodes" / "mine.py").touch()

    build_environment(tmp_path, "comm")

    assert (environment / "custom_nodes" / "mine.py").exists()
