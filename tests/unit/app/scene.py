"""A fleet of fake processes that follows an instances file."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from comfysup.app.autolaunch import Shortfall, autolaunch
from comfysup.app.reload.reloader import Reloader
from comfysup.config.instances_file import InstancesFile, read_instances_file
from comfysup.config.settings import Settings
from comfysup.model.instances_file import ReloadOutcome
from comfysup.model.spec import InstanceSpec
from comfysup.supervision.fleet import Fleet
from comfysup.supervision.instance import Instance
from comfysup.supervision.lifecycle_events import WaitFor
from comfysup.supervision.stop_escalation import StopEscalation
from tests.unit.supervision.fakes import (
    PATIENT,
    FakeLauncher,
)
from tests.unit.supervision.stage import Stage, fleet_on

QUICK = StopEscalation(terminate=0.001, kill=0.002, give_up=0.003)


def entry(number: int, **fields: object) -> dict[str, object]:
    return {"id": number, **fields}


@dataclass
class Scene:
    """A fleet that follows a file, with the published reload results."""

    file: Path
    settings: Settings
    stage: Stage
    fleet: Fleet
    launcher: FakeLauncher
    announced: list[ReloadOutcome] = field(default_factory=list)
    troubles: list[str | None] = field(default_factory=list)
    kept: list[dict[int, InstanceSpec]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.reloader = Reloader(
            self.fleet,
            self.launcher,
            self.settings,
            self.read(),
            self.announced.append,
            lambda: asyncio.to_thread(self.read),
            lambda: self.kept.append(dict(self.reloader.applied)),
        )
        self.stage.on_admitted = self.reloader.admitted
        self.shortfall = Shortfall(self.file, lambda _file, said: self.troubles.append(said))

    async def autolaunch(self) -> None:
        """Start the entries of the file, as a daemon does at startup."""
        file = self.read()
        self.shortfall.expect(file, self.reloader.applied)
        await autolaunch(self.reloader, file, self.shortfall)

    def read(self) -> InstancesFile:
        return read_instances_file(self.file, self.settings)

    def write(self, *instances: object, **rest: object) -> None:
        self.file.write_text(json.dumps({"instances": instances, **rest}))

    async def reload(self, *instances: object, **rest: object) -> dict[str, list[int]]:
        """Write the file and reload it; return the ids in each list of the outcome."""
        self.write(*instances, **rest)
        return ids(await self.reloader.reload())

    def instance(self, number: int) -> Instance:
        return self.fleet.find(str(number))

    def specs(self) -> dict[int, tuple[str, int]]:
        return {each.spec.id: (each.spec.name, each.spec.port) for each in self.fleet}

    async def start(self, spec: InstanceSpec) -> None:
        """Start an instance as a caller does."""
        await self.fleet.start(spec, WaitFor.SPAWN, 30)


def ids(outcome: ReloadOutcome) -> dict[str, list[int]]:
    groups = ("started", "stopped", "restarted", "updated", "left_alone")
    found = {name: [spec.id for spec in getattr(outcome, name)] for name in groups}
    found["failed"] = [failure.spec.id for failure in outcome.failed]
    return {name: numbers for name, numbers in found.items() if numbers}


@asynccontextmanager
async def scene(tmp_path: Path, launcher: FakeLauncher | None = None) -> AsyncIterator[Scene]:
    launcher = launcher or FakeLauncher()
    stage = Stage(launcher)
    file = tmp_path / "instances.json"
    settings = Settings(instances_file=file, policy=PATIENT)
    async with fleet_on(stage) as fleet:
        here = Scene(file, settings, stage, fleet, launcher)
        yield here
        await here.reloader.close()
