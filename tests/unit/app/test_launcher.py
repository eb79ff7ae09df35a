"""A launch has one deadline for all of its parts."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from comfysup.app import launcher as module
from comfysup.app.launcher import InstanceLauncher
from comfysup.model.spec import InstanceSpec
from comfysup.supervision.protocols import LaunchError

SPEC = InstanceSpec(0, "main", "comm", 3001)


class Parts:
    """The check, the driver and the spawn; `hangs` is the one that does not respond."""

    def __init__(self, hangs: str) -> None:
        self.hangs = hangs

    async def _reach(self, part: str) -> None:
        if part == self.hangs:
            await asyncio.Event().wait()

    async def ask(self, work: Callable[[], object], resource: str, patience: float) -> object:
        part = "making" if "Attempt." in repr(work) else "environment"
        await self._reach(part)
        return SimpleNamespace(path=Path(resource))

    async def assign(self, instance: int, wish: str | None, *, again: bool) -> None:
        await self._reach("driver")

    def launcher(self) -> InstanceLauncher:
        return InstanceLauncher(
            environments=cast("Any", SimpleNamespace(path=Path)),
            paths=cast("Any", SimpleNamespace(run=SimpleNamespace(identity=str))),
            reaper=cast("Any", None),
            inherited_env=cast("Any", None),
            pump=cast("Any", None),
            hardware=cast("Any", SimpleNamespace(gpus=self)),
            executors=cast("Any", SimpleNamespace(environments=self)),
        )


@pytest.mark.parametrize("hangs", ["environment", "driver", "making"])
async def test_a_launch_has_failed_by_its_deadline(
    hangs: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No part has its own limit in this test."""
    monkeypatch.setattr(module, "LAUNCH_DEADLINE", 0.01)

    with pytest.raises(LaunchError, match="together have not answered") as caught:
        await Parts(hangs).launcher().launch(SPEC, 1)
    assert caught.value.reason == "environment_unresponsive"
