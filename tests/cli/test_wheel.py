"""The wheel that `make dist` builds, installed into its own virtual environment."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from importlib.metadata import Distribution, distribution, distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.scenarios.client import Client
from tests.scenarios.ports import Ports
from tests.scenarios.waiting import bounded, until_async

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def venv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment with the wheel and the packages that its metadata requires, no others.

    The packages are those of this interpreter: nothing is downloaded.
    """
    place = tmp_path_factory.mktemp("wheel")
    _python("-m", "build", "--no-isolation", "--outdir", place / "dist", REPOSITORY, at=place)
    (wheel,) = (place / "dist").glob("*.whl")
    made = place / "venv"
    _python("-m", "venv", "--without-pip", made, at=place)
    pip = ("-m", "pip", "--python", made / "bin" / "python", "--disable-pip-version-check")
    _python(*pip, "install", "--quiet", "--no-index", "--no-deps", wheel, at=place)
    _link_dependencies(*made.glob("lib/python3*/site-packages"))
    return made


@pytest.fixture
def root() -> Iterator[Path]:
    # A short path: that of a unix socket is at most 107 bytes long.
    made = Path(tempfile.mkdtemp(prefix="comfysup-"))
    yield made
    shutil.rmtree(made)


def test_the_wheel_has_the_version_of_the_project(venv: Path, root: Path) -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]

    said = subprocess.check_output(
        [venv / "bin" / "comfysup", "--version"], text=True, cwd=root, env=_environ()
    )
    place = subprocess.check_output(
        [venv / "bin" / "python", "-c", "import comfysup; print(comfysup.__file__)"],
        text=True,
        cwd=root,
        env=_environ(),
    )

    assert said == f"comfysup, version {project['version']}\n"
    assert Path(place.strip()).is_relative_to(venv)


async def test_a_demo_from_the_wheel_starts_instances_and_leaves_nothing(
    venv: Path, root: Path
) -> None:
    async with _demo(venv, root) as (client, ports, demo):
        started = await client.ask(
            "POST",
            "/api/comfyui/start-single",
            {"id": 0, "port": ports.reserve(), "name": "main", "environment": "comm"},
        )
        demo.send_signal(signal.SIGINT)
        async with bounded():
            code = await demo.wait()

    assert started.status == 200, started
    assert code == 0
    assert list((root / "tmp").iterdir()) == []


@asynccontextmanager
async def _demo(
    venv: Path, root: Path
) -> AsyncIterator[tuple[Client, Ports, asyncio.subprocess.Process]]:
    """Runs a demo that answers; its output is printed, and shown where a test fails."""
    ports = Ports()
    port = ports.reserve()
    client = Client(root / "run" / "api.sock", port)
    (root / "tmp").mkdir()
    own = {"COMFYSUP_RUN_DIR": root / "run", "COMFYSUP_PORT": port, "TMPDIR": root / "tmp"}
    with (root / "output").open("wb") as output:
        demo = await asyncio.create_subprocess_exec(
            *(venv / "bin" / "comfysup", "demo"),
            env=_environ() | {name: str(value) for name, value in own.items()},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd=root,
        )

    async def answers() -> bool:
        assert demo.returncode is None, "the demo ended"
        try:
            return (await client.ask("GET", "/livez")).status == 200
        except OSError:
            return False

    try:
        await until_async(answers)
        yield client, ports, demo
    finally:
        await client.close()
        if demo.returncode is None:
            demo.terminate()
            async with bounded():
                await demo.wait()
        ports.close()
        print((root / "output").read_text())  # noqa: T201 - shown on failure


def _link_dependencies(packages: Path) -> None:
    """Links what the wheel in `packages` requires, and what that requires, into it."""
    (wheel,) = distributions(path=[str(packages)])
    for each in _needed(wheel, {}).values():
        names = {file.parts[0] for file in each.files or []} - {"..", "__pycache__"}
        for name in names:
            (packages / name).symlink_to(Path(str(each.locate_file(name))))


def _needed(of: Distribution, known: dict[str, Distribution]) -> dict[str, Distribution]:
    for text in of.requires or []:
        requirement = Requirement(text)
        if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
            continue
        found = distribution(requirement.name)
        if found.name not in known:
            known[found.name] = found
            _needed(found, known)
    return known


def _python(*words: str | Path, at: Path) -> None:
    done = subprocess.run(
        [sys.executable, *words],
        cwd=at,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


def _environ() -> dict[str, str]:
    return {
        name: value
        for name, value in os.environ.items()
        if "COMFY" not in name and name != "PYTHONPATH"
    }
