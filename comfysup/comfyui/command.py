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
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from comfysup.comfyui.allocator import preloaded
from comfysup.comfyui.environment import Environment
from comfysup.comfyui.flags import flags_in, meant_by, value_of
from comfysup.comfyui.reboot import SESSION_VARIABLE
from comfysup.supervision.spec import InstanceSpec

LISTEN = "0.0.0.0"  # noqa: S104  # a container publishes the port, or does not
_TLS_FLAGS = frozenset({"--tls-keyfile", "--tls-certfile"})
_OWN_PREFIX = "COMFYSUP_"
_FOREIGN_PYTHON = frozenset({"PYTHONHOME", "PYTHONPATH"})


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What every instance takes from the daemon.

    `environ` are the daemon's variables, `preload` a library for `LD_PRELOAD`.
    """

    environ: Mapping[str, str] = field(repr=False)
    preload: str | None = None


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
    surroundings: Surroundings,
    *,
    session: Path,
    gpu: str | None,
) -> Command:
    """Return the command for an instance; touches nothing.

    `session` is the path without `.reboot` by which the Manager asks for a reboot, `gpu` the
    spec's after `auto` has been resolved.
    """
    own, directories = _own_places(environment, spec.id, spec.extra_args)
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
        env=_variables(environment, spec, surroundings)
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
    environment: Environment, instance: int, arguments: tuple[str, ...]
) -> tuple[tuple[str, ...], tuple[Path, ...]]:
    """Return the arguments that give an instance its own temp directory and database.

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
        own += ("--temp-directory", str(base / "temp-instances" / str(instance)))
    if "--database-url" in free and not set("?%") & set(str(user)):
        own += ("--database-url", f"sqlite:///{user / f'comfyui_instance_{instance}.db'}")
        # One that the user names must be there: ComfyUI refuses it otherwise, and says so.
        directories = () if users else (user,)
    return tuple(own), directories


def _variables(
    environment: Environment, spec: InstanceSpec, surroundings: Surroundings
) -> dict[str, str]:
    """Return the daemon's variables less its own, then the venv's, then the spec's over all."""
    inherited = {
        name: value
        for name, value in surroundings.environ.items()
        if not name.startswith(_OWN_PREFIX) and name not in _FOREIGN_PYTHON
    }
    preload = preloaded(inherited.get("LD_PRELOAD", ""), surroundings.preload)
    return (
        inherited
        | {
            "PYTHONUNBUFFERED": "1",
            "VIRTUAL_ENV": str(environment.path / "venv"),
            "PATH": f"{environment.python.parent}:{inherited.get('PATH') or os.defpath}",
        }
        | ({"LD_PRELOAD": preload} if preload else {})
        | dict(spec.env)
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
