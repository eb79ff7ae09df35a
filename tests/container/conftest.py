from collections.abc import Callable, Iterator

import pytest

from tests.container import engine
from tests.container.engine import Container

Run = Callable[..., Container]


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "container: runs containers; the image is built for it")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "tests/container/" in item.nodeid:
            item.add_marker(pytest.mark.container)
            # The first one waits for the image.
            item.add_marker(pytest.mark.timeout(1200))


@pytest.fixture(scope="session")
def product() -> Iterator[str]:
    """The image of this repository."""
    if reason := engine.obstacle():
        pytest.skip(reason)
    tag = "localhost/comfysup:tests"
    engine.build(tag, str(engine.ROOT))
    yield tag
    engine.remove(tag)


@pytest.fixture(scope="session")
def image(product: str) -> Iterator[str]:
    """The same with environments in it."""
    tag = "localhost/comfysup:standins"
    here = str(engine.HERE)
    engine.build(tag, "--build-arg", f"COMFYSUP={product}", "--file", f"{here}/Containerfile", here)
    yield tag
    engine.remove(tag)


@pytest.fixture
def run(image: str) -> Iterator[Run]:
    """Start containers, wait until their daemon responds, and remove them at the end."""
    running: list[Container] = []

    def start(*options: str) -> Container:
        container = Container(image, *options)
        running.append(container)
        container.wait_until_healthy()
        return container

    yield start
    for container in running:
        print(container.log()[-3000:])  # noqa: T201 - shown on failure
        container.close()
