"""Creates environments with a stand-in for ComfyUI, for the demo and the tests."""

import sys
import sysconfig
from collections.abc import Collection
from pathlib import Path

from comfysup.demo import arguments
from comfysup.demo.places import VERSION

_MODELS = ("checkpoints", "loras", "controlnet", "vae")


def build_environment(workspace: Path, name: str, *, missing_flags: Collection[str] = ()) -> Path:
    """Create `<workspace>/ComfyUI-<name>` and return its absolute path.

    Takes milliseconds and downloads nothing. `missing_flags` are arguments that the environment
    does not support, as older versions of ComfyUI do not support `--database-url`. Overwrites
    existing files of the same names; other files stay.
    """
    shared = workspace.absolute() / "shared-models"
    for kind in _MODELS:
        (shared / kind).mkdir(parents=True, exist_ok=True)
    environment = workspace.absolute() / f"ComfyUI-{name}"
    for directory in ("comfy", "custom_nodes", "input", "output", "user"):
        (environment / directory).mkdir(parents=True, exist_ok=True)
    if not (environment / "models").is_symlink():
        (environment / "models").symlink_to(Path("..", "shared-models"))
    _write_program(environment, missing_flags)
    build_venv(environment / "venv")
    return environment


def build_venv(venv: Path) -> None:
    """Create a virtual environment with access to the running interpreter's packages."""
    python = Path(sys.executable).resolve()
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    packages = venv / "lib" / version / "site-packages"
    packages.mkdir(parents=True, exist_ok=True)
    (venv / "bin").mkdir(exist_ok=True)
    for link in ("python", "python3", version):
        (venv / "bin" / link).unlink(missing_ok=True)
        (venv / "bin" / link).symlink_to(python)
    (venv / "pyvenv.cfg").write_text(
        f"home = {python.parent}\ninclude-system-site-packages = false\n"
    )
    (packages / "comfysup-standin.pth").write_text("\n".join(_sources()) + "\n")


def _write_program(environment: Path, missing_flags: Collection[str]) -> None:
    files = {
        "main.py": (
            '"""A stand-in for ComfyUI."""\n\nfrom comfysup.demo import main\n\n'
            f'if __name__ == "__main__":\n    main({tuple(missing_flags)!r})\n'
        ),
        "comfyui_version.py": f'"""The emulated version."""\n\n__version__ = "{VERSION}"\n',
        "comfy/cli_args.py": arguments.source(missing_flags),
        "requirements.txt": "aiohttp\n",
    }
    for path, text in files.items():
        (environment / path).write_text(text)


def _sources() -> list[str]:
    """Return the import paths of this package and its dependencies."""
    own = Path(__file__).resolve().parents[2]
    paths = (sysconfig.get_path("purelib"), sysconfig.get_path("platlib"), str(own))
    return list(dict.fromkeys(paths))
