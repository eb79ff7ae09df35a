"""The environments of a workspace as callers see and change them, without blocking the loop."""

import asyncio
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from comfysup.comfyui.environment.models_link import link_models
from comfysup.comfyui.environment.workspace import Environments, unresponsive
from comfysup.comfyui.guarded import guarded
from comfysup.linux.executor import Executor, UnresponsiveError
from comfysup.model.environment import LinkReport, Survey
from comfysup.supervision.protocols import RefusedError
from comfysup.supervision.tasks import Owner

LOOK_PATIENCE = 3.0
"""Seconds for a look at one environment; one that does not answer is shown as such."""

AT_ONCE = 8
"""Environments that are looked at at the same time."""

PATIENCE = 10.0
"""Seconds that the disk of an environment gets to tell which options it declares, and for which a
link waits for another one: both move files to the same place."""


class EnvironmentService:
    """Looks at environments, and shares their models; one at a time."""

    def __init__(self, environments: Environments, shared_models: Path, executor: Executor) -> None:
        self._environments = environments
        self._shared_models = shared_models
        self._executor = executor
        self._linking = asyncio.Lock()
        self._linked = ""  # whose models are being linked
        self._links = Owner()
        self._looks = asyncio.Semaphore(AT_ONCE)

    async def look(self) -> Sequence[Survey]:
        """Return all of them as they are now; raises `RefusedError` for a dead workspace."""
        environments = self._environments
        try:
            names = await self._executor.ask(
                environments.names, str(environments.workspace), LOOK_PATIENCE
            )
        except UnresponsiveError as error:
            raise _refusal("list the environments", error) from error
        found = await asyncio.gather(*map(self._survey, names))
        return [each for each in found if each]

    async def guarded(self, name: str, arguments: Sequence[str]) -> str | None:
        """Return why only who has proved its identity may pass these arguments there, or None."""
        if not arguments:
            return None
        look = partial(self._environments.find, name)
        try:
            environment = await self._executor.ask(
                look, str(self._environments.path(name)), PATIENCE
            )
        except RefusedError:
            return None  # nothing can be started from it
        except OSError as error:
            return f"the options of environment '{name}' cannot be read: {error}"
        return guarded(arguments, environment)

    async def link(self, name: str) -> LinkReport:
        """Share the models of one, which cannot be started meanwhile.

        The link is made also when the caller goes: the files are being moved by then. Raises
        `RefusedError` where there is none of that name, it does not answer, or those of another
        one are still being linked.
        """
        path = self._environments.path(name)
        try:
            await self._executor.ask(
                partial(self._environments.find, name), str(path), LOOK_PATIENCE
            )
            return await self._links.finish(self._link(name, path))
        except UnresponsiveError as error:
            raise _refusal(f"link the models of {name!r}", error) from error

    async def close(self) -> None:
        """Wait for no link any more; a thread that makes one goes on as long as the process."""
        await self._links.close()

    async def _link(self, name: str, path: Path) -> LinkReport:
        try:
            async with asyncio.timeout(PATIENCE):
                await self._linking.acquire()
        except TimeoutError:
            raise RefusedError(
                "environment_in_use",
                f"cannot link the models of {name!r}: the models of {self._linked!r} are still "
                "being linked; try again later",
            ) from None
        self._linked = name
        try:
            with self._environments.closed(name, "its models are being linked"):
                return await self._executor.submit(
                    partial(link_models, path, self._shared_models), f"linking {path}"
                )
        finally:
            self._linking.release()

    async def _survey(self, name: str) -> Survey | None:
        path = self._environments.path(name)
        look = partial(self._environments.survey_any, name)
        async with self._looks:
            try:
                return await self._executor.ask(look, str(path), LOOK_PATIENCE)
            except UnresponsiveError as error:
                return unresponsive(name, path, str(error))


def _refusal(what: str, error: UnresponsiveError) -> RefusedError:
    return RefusedError("environment_unresponsive", f"cannot {what}: {error}")
