"""The real application on a real fleet of fake processes."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from aiohttp.test_utils import TestClient, TestServer
from aiohttp.web import Application, Request, UnixSite

from comfysup.api.server.app import make_app
from comfysup.api.server.limits import Limits
from comfysup.api.server.security import Admission
from comfysup.api.services import (
    DaemonFacts,
    Logs,
    Services,
    StatusBoard,
)
from comfysup.api.stream_limit import StreamLimit
from comfysup.config.instance_fields import Defaults
from comfysup.model.environment import LinkReport, Survey
from comfysup.model.instances_file import ReloadOutcome
from comfysup.model.observed import LineBatch, QueueFacts, Usage
from comfysup.model.spec import InstanceSpec
from comfysup.supervision.fleet import Fleet
from comfysup.supervision.instance import Instance
from comfysup.supervision.journal import Journal
from comfysup.supervision.life import Moment
from tests.unit.supervision.fakes import PATIENT, FakeLauncher
from tests.unit.supervision.stage import Stage, now

API = "/api/comfyui"
RESERVED_PORT = 8001
OPEN = Admission(is_owner=lambda _socket: True)
COMM = Survey(
    name="comm",
    path=Path("/workspace/ComfyUI-comm"),
    problems=(),
    notes=("/workspace/ComfyUI-comm/models does not exist",),
    flags=frozenset(),
    comfyui_version="0.3.64",
    python_version=None,
    torch_version=None,
    custom_nodes=("ComfyUI-Manager",),
    models_link=None,
)


class NoLogs:
    """No log has a line."""

    @asynccontextmanager
    async def history(self, log_file: Path, lines: int) -> AsyncIterator[AsyncIterator[str]]:
        yield _nothing()

    @asynccontextmanager
    async def follow(self, log_file: Path, lines: int) -> AsyncIterator[AsyncIterator[str]]:
        yield _nothing()

    @asynccontextmanager
    async def news(
        self, log_file: Path, lines: int, after: str
    ) -> AsyncIterator[AsyncIterator[LineBatch]]:
        yield _nothing()


async def _nothing() -> AsyncIterator[Any]:
    nothing: tuple[Any, ...] = ()
    for each in nothing:
        yield each


async def restart_nothing() -> None:
    pass


async def link_nothing(_environment: str) -> LinkReport:
    return LinkReport(linked=True)


async def guard_nothing(_environment: str, _arguments: Sequence[str]) -> str | None:
    return None


async def read_file(file: Path) -> bytes:
    return file.read_bytes()  # noqa: ASYNC240 - nobody but the test waits on its loop


async def reload_nothing() -> ReloadOutcome:
    return ReloadOutcome(legible=True)


@dataclass
class World:
    """The replaceable services of a site."""

    stage: Stage = field(default_factory=Stage)
    troubles: list[str] = field(default_factory=list)
    shortfall: list[str] = field(default_factory=list)
    autolaunch_pending: list[InstanceSpec] = field(default_factory=list)
    defaults: Defaults = field(default_factory=lambda: Defaults(policy=PATIENT))
    admission: Admission = OPEN
    limits: Limits = field(default_factory=Limits)
    environments: list[Survey] = field(default_factory=lambda: [COMM])
    guarded: Callable[[str, Sequence[str]], Awaitable[str | None]] = guard_nothing
    link: Callable[[str], Awaitable[LinkReport]] = link_nothing
    restart: Callable[[], Awaitable[None]] = restart_nothing
    url: Callable[[InstanceSpec], str] = lambda spec: f"http://127.0.0.1:{spec.port}"
    usage: Callable[[Instance], Usage | None] = lambda _instance: None
    queue: Callable[[Instance], QueueFacts | None] = lambda _instance: None
    journal: Journal = field(default_factory=lambda: Journal(first_id=1))
    stream_limit: StreamLimit = field(default_factory=lambda: StreamLimit(slots=10, patience=1.0))
    reload: Callable[[], Awaitable[ReloadOutcome]] = reload_nothing
    plan_reload: Callable[[], Awaitable[ReloadOutcome]] = reload_nothing
    logs: Logs = field(default_factory=NoLogs)
    follower_limit: StreamLimit = field(
        default_factory=lambda: StreamLimit(10, 1.0, "too_many_followers")
    )
    log_reader_limit: StreamLimit = field(default_factory=lambda: StreamLimit(10, 1.0))
    log_directory: Path = Path("/workspace/logs")


@dataclass(frozen=True)
class Site:
    """The served application, its fleet, and a client."""

    client: TestClient[Request, Application]
    fleet: Fleet
    stage: Stage

    async def ask(
        self, method: str, path: str, body: object = None, **headers: str
    ) -> tuple[int, dict[str, object]]:
        """Return the status and the JSON of an answer."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        async with self.client.request(method, path, json=body, headers=named) as answer:
            found = await answer.json()
            assert isinstance(found, dict)
            return answer.status, found

    async def serve_socket(self, path: Path) -> None:
        """Serve the same application on a unix socket too."""
        runner = self.client.server.runner
        assert runner is not None
        await UnixSite(runner, path).start()

    async def get(self, path: str) -> dict[str, object]:
        """Return the JSON of a successful response."""
        status, body = await self.ask("GET", path)
        assert status == 200, body
        return body

    async def post(self, path: str, body: object = None) -> dict[str, object]:
        """Return the JSON of a successful response."""
        status, answer = await self.ask("POST", path, body)
        assert status == 200, answer
        return answer

    async def refused(self, method: str, path: str, body: object = None) -> tuple[int, object, str]:
        """Return status, code and detail of an error response."""
        status, answer = await self.ask(method, path, body)
        assert status >= 400, answer
        assert answer.keys() == {"code", "detail"}
        return status, answer["code"], str(answer["detail"])


@asynccontextmanager
async def site_of(world: World | None = None) -> AsyncIterator[Site]:
    """Serve the application for the block; the tasks of its instances end with it."""
    world = world or World()
    board = StatusBoard()
    touched = world.stage.context.touched

    def touch(instance: Instance) -> None:
        touched(instance)
        board.invalidate()

    fleet = Fleet(replace(world.stage.context, touched=touch), RESERVED_PORT)
    app = make_app(services_of(fleet, board, world), world.admission, world.limits)
    async with TestClient(TestServer(app)) as client:
        yield Site(client, fleet, world.stage)
    await fleet.release()


def services_of(fleet: Fleet, board: StatusBoard, world: World) -> Services:
    async def environments() -> list[Survey]:
        return world.environments

    return Services(
        fleet=fleet,
        status_board=board,
        clock=now,
        defaults=lambda: world.defaults,
        guarded=world.guarded,
        environments=environments,
        link=world.link,
        restart=world.restart,
        daemon=lambda: DaemonFacts(
            "1.2.3", 42, Moment(now().monotonic - 9, 1e9), {"port": 8001}, "pidfd"
        ),
        troubles=lambda: world.troubles,
        shortfall=lambda: world.shortfall,
        log_file=lambda number: world.log_directory / f"comfyui_instance_{number}.log",
        url=world.url,
        usage=world.usage,
        queue=world.queue,
        journal=world.journal,
        stream_limit=world.stream_limit,
        logs=world.logs,
        follower_limit=world.follower_limit,
        log_reader_limit=world.log_reader_limit,
        reload=world.reload,
        plan_reload=world.plan_reload,
        autolaunch_pending=lambda: world.autolaunch_pending,
        pass_over=lambda _ref: None,
        read_file=read_file,
    )


def world_of(launcher: FakeLauncher) -> World:
    return World(stage=Stage(launcher))


def one(number: int = 0, /, **fields: object) -> dict[str, object]:
    """An instance as a client writes it."""
    return {"id": number, "port": 3001 + number, "name": f"comfyui-{number}", **fields}


def several(*instances: object, **fields: object) -> dict[str, object]:
    return {"instances": list(instances), **fields}
