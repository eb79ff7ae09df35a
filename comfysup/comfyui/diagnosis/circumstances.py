"""Facts about a process beyond its output, and how they refine a hint."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path

from comfysup.comfyui.command import InheritedEnv
from comfysup.comfyui.diagnosis.conditions import failed_nodes
from comfysup.comfyui.diagnosis.patterns.pattern import NO_GPUS, OPERATION
from comfysup.comfyui.environment.venv import interpreter_version, package_versions
from comfysup.comfyui.environment.workspace import Environments
from comfysup.model.spec import InstanceSpec
from comfysup.supervision.protocols import Condition

NEAR = 0.8
"""Minimum similarity between a mistyped argument and a suggestion."""


_VISIBLE = (
    *("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES"),
    "ONEAPI_DEVICE_SELECTOR",
)
_CACHES = ("HF_HOME", "HF_HUB_CACHE", "TORCH_HOME", "TMPDIR", "XDG_CACHE_HOME")


@dataclass(frozen=True, slots=True)
class Circumstances:
    """How a process was started and what its environment contains. Every field may be unknown.

    `flags` are the options that its ComfyUI declares, `arguments` those passed, `variables` its
    environment variables. `python` is the interpreter's version, as `3.12`; `libraries` are the
    versions that its venv has packages for. `requirements` are the custom nodes with a
    `requirements.txt`.
    """

    flags: frozenset[str] = frozenset()
    arguments: tuple[str, ...] = ()
    variables: Mapping[str, str] = field(default_factory=dict, repr=False)
    python: str | None = None
    libraries: tuple[str, ...] = ()
    requirements: frozenset[str] = frozenset()

    @property
    def other_python(self) -> str:
        """A sentence that the venv was made for another Python, or ""."""
        if self.python is None or not self.libraries or self.python in self.libraries:
            return ""
        made_for = " and ".join(self.libraries)
        return f"the environment runs Python {self.python}, its packages are for {made_for}"

    def hint(self, reason: str, hint: str, groups: Mapping[str, str], node: str | None) -> str:
        """Return the hint of a pattern, made fit for this process."""
        if "--cpu" in self.arguments:
            hint = hint.removesuffix(", or pass --cpu")
        match reason:
            case "missing_driver" if hint.startswith(NO_GPUS):
                return self._with_visible_devices(hint)
            case "cuda_out_of_memory" if "--lowvram" in self.arguments:
                return hint.replace("use --lowvram", "use --novram instead of --lowvram")
            case "missing_module" if node and "module" in groups:
                return f"{hint}{self._requirements_of(node)}, or remove that node"
            case "unknown_argument" if "arguments" in groups:
                return self._for_arguments(hint, groups["arguments"])
            case "disk_full" | "permission_denied" if "path" not in groups and hint != OPERATION:
                return self._with_caches(hint)
            case _:
                return hint

    def _requirements_of(self, node: str) -> str:
        file = f"custom_nodes/{node}/requirements.txt"
        return f": venv/bin/python -m pip install -r {file}" if node in self.requirements else ""

    def _with_visible_devices(self, hint: str) -> str:
        for name in _VISIBLE:
            if (value := self.variables.get(name)) is not None:
                return f"{hint}; this instance may use only {name}={value!r}: correct `gpu`"
        return hint

    def _with_caches(self, hint: str) -> str:
        caches = [f"{name}={self.variables[name]}" for name in _CACHES if self.variables.get(name)]
        return f"{hint}; files also go to {', '.join(caches)}" if caches else hint

    def _for_arguments(self, hint: str, arguments: str) -> str:
        """Suggest a declared argument, or name the likely cause if all arguments are declared."""
        named = re.findall(r"(?<!\S)(--?[A-Za-z][\w-]*)", arguments)
        if named and all(each in self.flags for each in named):
            return (
                "ComfyUI knows them: a custom node reads the command line as its own; the last "
                "lines before the usage name it"
            )
        for each in named:
            if each in self.flags:
                continue
            if near := get_close_matches(each, self.flags, n=1, cutoff=NEAR):
                instead = f" instead of {each}" if len(named) > 1 else ""
                return f"{hint}: did you mean {near[0]}{instead}?"
        return hint


def known_at_start(
    spec: InstanceSpec, inherited_env: InheritedEnv, gpu: str | None
) -> Circumstances:
    """Return the facts known at the start: arguments, and variables without secrets."""
    variables = {**inherited_env.environ, **dict(spec.env)}
    if gpu is not None and gpu != "auto":
        variables["CUDA_VISIBLE_DEVICES"] = gpu
    return Circumstances(
        arguments=spec.extra_args,
        variables={name: variables[name] for name in (*_VISIBLE, *_CACHES) if name in variables},
    )


REQUIREMENTS = "requirements.txt"
_NODE = re.compile(r"""custom_nodes/([^/"\s:']+)""")


def circumstances_of(
    environments: Environments, name: str, known: Circumstances, lines: Iterable[str]
) -> Circumstances:
    """Return the known facts with those of the environment added.

    `lines` are the last lines; only custom nodes named in them are examined. Raises `RefusedError`
    if the environment does not exist, and OSError if it cannot be read.
    """
    environment = environments.find(name)
    nodes = {node for line in lines for node in _NODE.findall(line)}
    return replace(
        known,
        flags=environment.flags,
        python=interpreter_version(environment.path),
        libraries=package_versions(environment.path),
        requirements=frozenset(
            node
            for node in nodes
            if (environment.path / "custom_nodes" / node / REQUIREMENTS).is_file()
        ),
    )


def conditions_of(lines: Sequence[str]) -> Sequence[Condition]:
    """Return the conditions that the first lines of a process report."""
    return failed_nodes(lines, has_requirements=_has_requirements)


def _has_requirements(node: str) -> bool:
    try:
        return (Path(node) / REQUIREMENTS).is_file()
    except OSError:
        return False
