"""Which instance a running ComfyUI is, from what can be seen of it from outside."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from comfysup.comfyui.environment import PREFIX

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
