"""The environments of a workspace as callers see and change them, without blocking the loop."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

from comfysup.comfyui.environment import Environments, Survey
from comfysup.comfyui.models_link import LinkReport, link_models
from comfysup.system.disk_threads import DiskThreads


class Workshop:
    """Looks at environments, and shares their models; one at a time."""

    def __init__(self, environments: Environments, shared_models: Path, disk: DiskThreads) -> None:
        self._environments = environments
        self._shared_models = shared_models
        self._disk = disk
        self._linking = asyncio.Lock()

    async def look(self) -> Sequence[Survey]:
        """Return all of them as they are now."""
        return await self._disk.ask(self._environments.all)

    async def link(self, name: str) -> LinkReport:
        """Share the models of one, which cannot be started meanwhile.

        Raises `RefusedError` where there is none of that name.
        """
        path = self._environments.find(name).path
        with self._environments.closed(name, "its models are being linked"):
            async with self._linking:
                return await self._disk.ask(lambda: link_models(path, self._shared_models))
