"""The environments of a workspace for callers: read and changed without blocking the loop."""

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
"""Seconds for reading one environment; one that does not answer is shown as unresponsive."""

AT_ONCE = 8
"""The number of environments that are read concurrently."""

PATIENCE = 10.0
"""Seconds for the disk of an environment to list its declared options. Also the seconds that a link
waits for another link, because both move files to the same directory."""


class EnvironmentService:
    """Surveys environments, and links their models, one environment at a time."""

    def __init__(self, environments: Environments, shared_models: Path, executor: Executor) -> None:
        self._environments = environments
        self._shared_models = shared_models
        self._executor = executor
        self._linking = asyncio.Lock()
        self._linked = ""  # the environment that is being linked
        self._links = Owner()
        self._looks = asyncio.Semaphore(AT_ONCE)

    async def look(self) -> Sequence[Survey]:
        """Return all environments; raises `RefusedError` if the workspace does not answer."""
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
        """Return why these arguments need an authenticated caller, or None."""
        if not arguments:
            return None
        look = partial(self._environments.find, name)
        try:
            environment = await self._executor.ask(
                look, str(self._environments.path(name)), PATIENCE
            )
        except RefusedError:
            return None  # no instance can be started from this environment
        except OSError as error:
            return f"the options of environment '{name}' cannot be read: {error}"
        return guarded(arguments, environment)

    async def link(self, name: str) -> LinkReport:
        """Share the models of one environment; starts from it are refused meanwhile.

        The link continues if the caller disconnects, because files are already being moved. Raises
        `RefusedError` when no environment has that name, its disk does not answer, or another link
        is still running.
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
        """Stop waiting for links; a thread that makes one runs as long as the process."""
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
