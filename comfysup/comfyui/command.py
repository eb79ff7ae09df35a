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
    """Return the path of the first tcmalloc that the dynamic linker lists, full before minimal.

    torch constantly allocates and frees large blocks. With glibc's malloc the memory of a ComfyUI
    that changes models grows without limit. Runs `ldconfig -p` (milliseconds, at most 5 s): call
    this once, in a thread.
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
    """Return tcmalloc for this machine's architecture from the output of `ldconfig -p`, or None."""
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
    """Settings that every instance inherits from the daemon.

    `environ` holds the daemon's variables, `preload` a library for `LD_PRELOAD`. `owner`
    distinguishes the instances' files from those of another daemon with the same ids; it is empty
    if no other daemon runs instances of these environments.
    """

    environ: Mapping[str, str] = field(repr=False)
    preload: str | None = None
    owner: str = ""


@dataclass(frozen=True, slots=True)
class Command:
    """The command to execute. `directories` must be created first. `env` may contain secrets."""

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
    """Return the local URL of an instance: `https` if its arguments set a key and a certificate."""
    given = {meant_by(argument, _TLS_FLAGS) for argument in spec.extra_args}
    scheme = "https" if given >= _TLS_FLAGS else "http"
    return f"{scheme}://127.0.0.1:{spec.port}"


def _own_places(
    environment: Environment, name: str, arguments: tuple[str, ...]
) -> tuple[tuple[str, ...], tuple[Path, ...]]:
    """Return arguments for an instance's own temp directory and database, and their directories.

    Both are next to ComfyUI's defaults, which the instances would share. The temp directory is not
    inside `temp`, which a manually started ComfyUI deletes.
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
        # The user's directory must exist already; ComfyUI refuses a missing one with an error.
        directories = () if users else (user,)
    return tuple(own), directories


def _variables(
    environment: Environment, spec: InstanceSpec, inherited_env: InheritedEnv
) -> dict[str, str]:
    """Return the daemon's variables less its own, then the venv's, then the spec's over all.

    Python's fault handler names the custom node in which native code crashed; ComfyUI enables it
    itself only in newer versions.
    """
    inherited = {
        name: value
        for name, value in inherited_env.environ.items()
        if not name.startswith(_OWN_PREFIX) and name not in _FOREIGN_PYTHON
    }
    preload = preloaded(inherited.get("LD_PRELOAD", ""), inherited_env.preload)
    own = dict(spec.env)
    modules = own.pop("PYTHONPATH", "")
    return (
        {"PYTHONFAULTHANDLER": "1"}
        | inherited
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
    """Return the variables that make only those GPUs visible; none if `gpu` is empty.

    On AMD, HIP's indices count within `ROCR_VISIBLE_DEVICES`, so setting both to 1 would leave
    none. Therefore only HIP's and CUDA's variables, both of which HIP reads, are set.
    """
    if gpu is None:
        return {}
    return {
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
        "CUDA_VISIBLE_DEVICES": gpu,
        "HIP_VISIBLE_DEVICES": gpu,
    }


OWN_OPTIONS = ("--listen", "--port", "--temp-directory", "--database-url")
"""Options that `build_command` passes to every instance, each with a value, first."""


@dataclass(frozen=True, slots=True)
class Recognised:
    """The parts of a spec that were recovered from a command line of `build_command`."""

    environment: str
    port: int
    extra_args: tuple[str, ...]
    gpu: str | None


def recognise(argv: Sequence[str], cwd: Path, environ: Mapping[str, str]) -> Recognised | None:
    """Return the spec parts of an instance's process, or None if it is not an instance."""
    if not cwd.name.startswith(PREFIX):
        return None
    options, rest = _own_options(list(argv[2:]))
    port = options.get("--port", "")
    if not port.isdecimal():
        return None
    gpu = environ.get("CUDA_VISIBLE_DEVICES") if "HIP_VISIBLE_DEVICES" in environ else None
    return Recognised(cwd.name.removeprefix(PREFIX), int(port), tuple(rest), gpu)


def _own_options(arguments: list[str]) -> tuple[dict[str, str], list[str]]:
    """Split off the leading own options, each at most once; the rest are the instance's."""
    options: dict[str, str] = {}
    while len(arguments) > 1 and arguments[0] in OWN_OPTIONS and arguments[0] not in options:
        options[arguments[0]] = arguments[1]
        del arguments[:2]
    return options, arguments
