"""The command that starts one instance: arguments, working directory and variables.

What ComfyUI makes of them (0.3.64 and the newest of 2026 agree):

- `--temp-directory X` means `X/temp`, which it deletes at its start and at its end and makes as
  needed, `X` with it.
- `--database-url sqlite:////absolute/path`: the directory must exist before 0.4; newer ones lock
  `path.lock` and exit when another process holds it. SQLAlchemy reads `?` and, from 2.1, `%xx` in
  the path for itself; there is no spelling that all versions understand.
- `--cuda-device N` sets `CUDA_VISIBLE_DEVICES` and `HIP_VISIBLE_DEVICES` to N, as `gpu` does here.
"""

import os
import platform
import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from comfysup.comfyui.environment.flags import flags_in, meant_by, value_of
from comfysup.comfyui.environment.workspace import PREFIX
from comfysup.comfyui.reboot import SESSION_VARIABLE
from comfysup.model.environment import Environment
from comfysup.model.spec import InstanceSpec

_ENTRY = re.compile(r"^\s*(libtcmalloc(?:_minimal)?\.so\.\d+) \((.*?)\) => (\S.*)$", re.MULTILINE)
_MACHINES = {"x86_64": "x86-64", "aarch64": "AArch64"}
_ALLOCATORS = ("tcmalloc", "jemalloc", "mimalloc")


def find_tcmalloc() -> str | None:
    """Return the path of the first tcmalloc that the dynamic linker knows, the full one first.

    torch allocates and frees large blocks all the time. With glibc's malloc the memory of a ComfyUI
    that changes its models grows without end. Runs `ldconfig -p` (milliseconds, at most 5 s): call
    it once, from a thread.
    """
    for command in ("/sbin/ldconfig", "/usr/sbin/ldconfig"):
        try:
            listing = subprocess.run(  # noqa: S603  # a fixed command
                [command, "-p"],
                capture_output=True,
                timeout=5,
                check=False,
                env={"LC_ALL": "C"},
            )
        except (OSError, subprocess.TimeoutExpired):
            continue
        return tcmalloc_in(os.fsdecode(listing.stdout), platform.machine())
    return None


def tcmalloc_in(listing: str, machine: str) -> str | None:
    """Pick tcmalloc from what `ldconfig -p` printed; a library of another machine is no use."""
    architecture = _MACHINES.get(machine, "")
    found = [
        (name, path) for name, traits, path in _ENTRY.findall(listing) if architecture in traits
    ]
    found.sort(key=lambda entry: "_minimal" in entry[0])
    return found[0][1] if found else None


def preloaded(existing: str, library: str | None) -> str:
    """Return the `LD_PRELOAD` that adds `library` to `existing`, unless that has an allocator."""
    if library is None or any(allocator in existing for allocator in _ALLOCATORS):
        return existing
    return f"{existing}:{library}" if existing else library


LISTEN = "0.0.0.0"  # noqa: S104  # a container publishes the port, or does not
_TLS_FLAGS = frozenset({"--tls-keyfile", "--tls-certfile"})
_OWN_PREFIX = "COMFYSUP_"
_FOREIGN_PYTHON = frozenset({"PYTHONHOME", "PYTHONPATH", "PYTHONUNBUFFERED"})
"""Those of the daemon's Python. The last would have ComfyUI buffer its output in blocks: it wraps
streams that have no buffer of their own, and takes over line buffering, which they lack too."""

LINE_BUFFERED = Path(__file__).with_name("line_buffered")
"""Holds the `sitecustomize.py` that sets line buffering, and nothing else."""


@dataclass(frozen=True, slots=True)
class InheritedEnv:
    """What every instance takes from the daemon.

    `environ` are the daemon's variables, `preload` a library for `LD_PRELOAD`. `owner` tells the
    files of its instances from those of another daemon's with the same ids; empty where no other
    runs instances of the same environments.
    """

    environ: Mapping[str, str] = field(repr=False)
    preload: str | None = None
    owner: str = ""


@dataclass(frozen=True, slots=True)
class Command:
    """What to execute. `directories` must exist before that; `env` may hold secrets."""

    argv: tuple[str, ...]
    cwd: Path
    env: dict[str, str] = field(repr=False)
    directories: tuple[Path, ...] = ()


def build_command(
    environment: Environment,
    spec: InstanceSpec,
    inherited_env: InheritedEnv,
    *,
    session: Path,
    gpu: str | None,
) -> Command:
    """Return the command for an instance; touches nothing.

    `session` is the path without `.reboot` by which the Manager asks for a reboot, `gpu` the
    spec's after `auto` has been resolved.
    """
    name = f"{spec.id}-{inherited_env.owner}" if inherited_env.owner else str(spec.id)
    own, directories = _own_places(environment, name, spec.extra_args)
    return Command(
        argv=(
            str(environment.python),
            str(environment.path / "main.py"),
            *("--listen", LISTEN),
            *("--port", str(spec.port)),
            *own,
            *spec.extra_args,
        ),
        cwd=environment.path,
        env=_variables(environment, spec, inherited_env)
        | _gpu(gpu)
        | {SESSION_VARIABLE: str(session)},
        directories=directories,
    )


def base_url(spec: InstanceSpec) -> str:
    """Return the URL, on this machine, of an instance: `https` where it is given key and cert."""
    given = {meant_by(argument, _TLS_FLAGS) for argument in spec.extra_args}
    scheme = "https" if given >= _TLS_FLAGS else "http"
    return f"{scheme}://127.0.0.1:{spec.port}"


def _own_places(
    environment: Environment, name: str, arguments: tuple[str, ...]
) -> tuple[tuple[str, ...], tuple[Path, ...]]:
    """Return the arguments that give an instance a temp directory and database of its own `name`.

    Both lie where ComfyUI would have put them, beside what the instances would else share: the
    temp directory is not inside `temp`, which a ComfyUI started by hand deletes.
    """
    free = environment.flags - flags_in(arguments, environment.flags)
    base = environment.path / (value_of("--base-directory", arguments, environment.flags) or "")
    users = value_of("--user-directory", arguments, environment.flags)
    user = environment.path / users if users else base / "user"
    own: list[str] = []
    directories: tuple[Path, ...] = ()
    if "--temp-directory" in free:
        own += ("--temp-directory", str(base / "temp-instances" / name))
    if "--database-url" in free and not set("?%") & set(str(user)):
        own += ("--database-url", f"sqlite:///{user / f'comfyui_instance_{name}.db'}")
        # One that the user names must be there: ComfyUI refuses it otherwise, and says so.
        directories = () if users else (user,)
    return tuple(own), directories


def _variables(
    environment: Environment, spec: InstanceSpec, inherited_env: InheritedEnv
) -> dict[str, str]:
    """Return the daemon's variables less its own, then the venv's, then the spec's over all."""
    inherited = {
        name: value
        for name, value in inherited_env.environ.items()
        if not name.startswith(_OWN_PREFIX) and name not in _FOREIGN_PYTHON
    }
    preload = preloaded(inherited.get("LD_PRELOAD", ""), inherited_env.preload)
    own = dict(spec.env)
    modules = own.pop("PYTHONPATH", "")
    return (
        inherited
        | {
            "PYTHONPATH": f"{LINE_BUFFERED}{os.pathsep}{modules}"
            if modules
            else str(LINE_BUFFERED),
            "VIRTUAL_ENV": str(environment.path / "venv"),
            "PATH": f"{environment.python.parent}:{inherited.get('PATH') or os.defpath}",
        }
        | ({"LD_PRELOAD": preload} if preload else {})
        | own
    )


def _gpu(gpu: str | None) -> dict[str, str]:
    """Return the variables that leave only those GPUs visible; an empty `gpu` leaves none.

    On AMD, HIP counts among what `ROCR_VISIBLE_DEVICES` has left: setting both to 1 would leave
    nothing. So that one stays as it is, and HIP's and CUDA's (which HIP reads too) agree.
    """
    if gpu is None:
        return {}
    return {
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
        "CUDA_VISIBLE_DEVICES": gpu,
        "HIP_VISIBLE_DEVICES": gpu,
    }


OWN_OPTIONS = ("--listen", "--port", "--temp-directory", "--database-url")
"""What `build_command` gives every instance, each with a value, before its own arguments."""


@dataclass(frozen=True, slots=True)
class Recognised:
    """What a command line of `build_command` tells of the spec that it was made of."""

    environment: str
    port: int
    extra_args: tuple[str, ...]
    gpu: str | None


def recognise(argv: Sequence[str], cwd: Path, environ: Mapping[str, str]) -> Recognised | None:
    """Return what an instance's process says of its spec; None for what is none of ours."""
    if not cwd.name.startswith(PREFIX):
        return None
    options, rest = _own_options(list(argv[2:]))
    port = options.get("--port", "")
    if not port.isdecimal():
        return None
    gpu = environ.get("CUDA_VISIBLE_DEVICES") if "HIP_VISIBLE_DEVICES" in environ else None
    return Recognised(cwd.name.removeprefix(PREFIX), int(port), tuple(rest), gpu)


def _own_options(arguments: list[str]) -> tuple[dict[str, str], list[str]]:
    """Split off the options that stand first, each once; what follows is the instance's own."""
    options: dict[str, str] = {}
    while len(arguments) > 1 and arguments[0] in OWN_OPTIONS and arguments[0] not in options:
        options[arguments[0]] = arguments[1]
        del arguments[:2]
    return options, arguments
