"""Linking the models of an environment, which is closed meanwhile."""

import asyncio
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from comfysup.app import environments as module
from comfysup.app.environments import EnvironmentService
from comfysup.comfyui.environment.workspace import Environments
from comfysup.linux.executor import Executor
from comfysup.model.environment import LinkReport
from comfysup.supervision.protocols import RefusedError
from tests.scenarios.waiting import bounded, until

CLOSED = "its models are being linked"


@pytest.fixture
async def environments(tmp_path: Path) -> Environments:
    (tmp_path / "ComfyUI-comm").mkdir()
    return Environments(tmp_path)


@pytest.fixture
async def environment_service(
    environments: Environments, tmp_path: Path
) -> AsyncIterator[EnvironmentService]:
    executor = Executor("link")
    made = EnvironmentService(environments, tmp_path / "shared-models", executor)
    yield made
    await made.close()
    executor.shutdown()


@pytest.fixture
def links(monkeypatch: pytest.MonkeyPatch) -> threading.Semaphore:
    """Each release completes one link in progress."""
    ends = threading.Semaphore(0)

    def link(*_paths: Path) -> LinkReport:
        ends.acquire()
        return LinkReport(linked=True)

    monkeypatch.setattr("comfysup.app.environments.link_models", link)
    return ends


def is_closed(environments: Environments) -> bool:
    return CLOSED in "; ".join(environments.find("comm").problems)


async def test_an_environment_stays_closed_when_the_caller_of_its_link_disconnects(
    environments: Environments, environment_service: EnvironmentService, links: threading.Semaphore
) -> None:
    caller = asyncio.create_task(environment_service.link("comm"))
    await until(lambda: is_closed(environments))
    caller.cancel()
    await asyncio.wait([caller])

    assert is_closed(environments)
    links.release()
    await until(lambda: not is_closed(environments))


async def test_an_environment_is_closed_during_the_second_of_two_links(
    environments: Environments, environment_service: EnvironmentService, links: threading.Semaphore
) -> None:
    callers = [asyncio.create_task(environment_service.link("comm")) for _ in range(2)]
    await until(lambda: is_closed(environments))
    links.release()
    await asyncio.wait(callers, return_when=asyncio.FIRST_COMPLETED)

    await until(lambda: is_closed(environments))
    links.release()
    async with bounded():
        assert all(report.linked for report in await asyncio.gather(*callers))
    assert not is_closed(environments)


async def test_a_hanging_link_does_not_block_other_links(
    environments: Environments,
    environment_service: EnvironmentService,
    links: threading.Semaphore,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "PATIENCE", 0.01)
    (environments.workspace / "ComfyUI-other").mkdir()
    first = asyncio.create_task(environment_service.link("comm"))
    await until(lambda: is_closed(environments))

    with pytest.raises(RefusedError, match="the models of 'comm' are still being linked"):
        await environment_service.link("other")

    links.release()
    async with bounded():
        assert (await first).linked
        links.release()
        assert (await environment_service.link("other")).linked
