"""The settings: every environment variable that the daemon reads, checked once at its start."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

from comfysup.config import field_values as values
from comfysup.config import variables
from comfysup.config.instance_fields import Defaults
from comfysup.config.run_location import own_part, run_location
from comfysup.config.variables import SettingsError, Token, Variables
from comfysup.model.spec import Policy

MAX_LOG_KEEP = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The settings from the environment; times are seconds. `from_environ` creates them.

    `warnings` names ignored variables, and unknown ones that resemble settings. `mistakes` holds
    the errors of the environment if these are the last valid settings instead.
    """

    autolaunch: bool = False
    environment: str = "comm"
    base_port: int = 3001
    extra_args: tuple[str, ...] = ()
    host: str = "0.0.0.0"  # noqa: S104 - the operator publishes the container's port
    port: int = 8001
    workspace: Path = Path("/workspace")
    instances_file: Path = Path("/instances.json")
    run_dir: Path = Path("/run/comfysup")
    log_dir: Path = Path("/workspace/logs")
    log_max_bytes: int = 50 << 20
    log_keep: int = 5
    token: Token | None = None
    read_token: Token | None = None
    allowed_hosts: frozenset[str] = frozenset()
    max_body: int = 1 << 20
    body_timeout: float = 10.0
    max_json_depth: int = 32
    idle_timeout: float = 30.0
    max_connections: int = 1_000
    shutdown_grace: float = 8.0
    policy: Policy = field(default_factory=Policy)
    warnings: tuple[str, ...] = ()
    mistakes: tuple[str, ...] = ()

    @classmethod
    def from_environ(cls, environ: Mapping[str, str], uid: int) -> "Settings":
        """Return the settings of a daemon of this user id; raises SettingsError with all errors."""
        read, default = Variables(environ), cls()
        elsewhere = {name: environ[name] for name in environ if name != "COMFYSUP_RUN_DIR"}

        def run_dir(text: str) -> Path:
            return Path(own_part(str(variables.path(text)), uid))

        workspace = read.read("COMFYSUP_WORKSPACE", variables.path, default.workspace)
        settings = cls(
            autolaunch=not read.read("DISABLE_AUTOLAUNCH", _flag, default=not default.autolaunch),
            environment=read.read("COMFYUI_ENVIRONMENT", values.environment, default.environment),
            base_port=read.read("COMFYUI_BASE_PORT", _port, default.base_port),
            extra_args=read.arguments("EXTRA_ARGS"),
            host=read.read("COMFYSUP_HOST", variables.host, default.host),
            port=read.read("COMFYSUP_PORT", _port, default.port),
            workspace=workspace,
            instances_file=read.read(
                "COMFYSUP_INSTANCES_FILE", variables.path, default.instances_file
            ),
            run_dir=read.read(
                "COMFYSUP_RUN_DIR",
                run_dir,
                Path(run_location(elsewhere, uid)),
            ),
            log_dir=read.read("COMFYSUP_LOG_DIR", variables.path, workspace / "logs"),
            log_max_bytes=read.read(
                "COMFYSUP_LOG_MAX_BYTES", variables.size, default.log_max_bytes
            ),
            log_keep=read.read("COMFYSUP_LOG_KEEP", _keep, default.log_keep),
            token=read.token("COMFYSUP_TOKEN"),
            read_token=read.token("COMFYSUP_READ_TOKEN"),
            allowed_hosts=read.read("COMFYSUP_ALLOWED_HOSTS", _hosts, default.allowed_hosts),
            max_body=read.read("COMFYSUP_MAX_BODY", variables.size, default.max_body),
            body_timeout=read.read(
                "COMFYSUP_BODY_TIMEOUT", variables.seconds, default.body_timeout
            ),
            max_json_depth=read.read("COMFYSUP_MAX_JSON_DEPTH", _depth, default.max_json_depth),
            idle_timeout=read.read(
                "COMFYSUP_IDLE_TIMEOUT", variables.seconds, default.idle_timeout
            ),
            max_connections=read.read(
                "COMFYSUP_MAX_CONNECTIONS", _connections, default.max_connections
            ),
            shutdown_grace=read.read(
                "COMFYSUP_SHUTDOWN_GRACE", variables.seconds, default.shutdown_grace
            ),
            policy=read.policy(),
            warnings=read.warnings(),
        )
        if settings.token and settings.token == settings.read_token:
            read.mistakes.append("COMFYSUP_READ_TOKEN must differ from COMFYSUP_TOKEN, is the same")
        if read.mistakes:
            raise SettingsError(tuple(read.mistakes), settings)
        return settings

    @property
    def defaults(self) -> Defaults:
        """The defaults of instances."""
        return Defaults(self.environment, self.base_port, self.extra_args, self.policy)

    @property
    def public(self) -> bool:
        """Whether other machines can reach the address."""
        return not variables.is_loopback(self.host)

    @property
    def unprotected(self) -> bool:
        """Whether any caller may start programs: a public address without a token."""
        return self.public and not (self.token or self.read_token)

    def shown(self) -> dict[str, object]:
        """Return all settings as JSON; for tokens only whether they are set."""
        written = {each.name: getattr(self, each.name) for each in fields(self)}
        return {name: _shown(value) for name, value in written.items()} | {
            "token": self.token is not None,
            "read_token": self.read_token is not None,
        }


def _shown(value: object) -> object:
    match value:
        case Path():
            return str(value)
        case Policy():
            return asdict(value)
        case tuple():
            return list(value)
        case frozenset():
            return sorted(value)
        case _:
            return value


def _flag(value: str) -> bool:
    return values.flag(value, text=True)


def _port(value: str) -> int:
    return values.port(value, text=True)


def _keep(value: str) -> int:
    return values.whole(value, 0, MAX_LOG_KEEP, text=True)


def _depth(value: str) -> int:
    return values.whole(value, 1, 512, text=True)


def _connections(value: str) -> int:
    return values.whole(value, 1, 100_000, text=True)


def _hosts(value: str) -> frozenset[str]:
    """Return lower-case host names, separated by commas or spaces."""
    return frozenset(variables.host(name).lower() for name in value.replace(",", " ").split())
