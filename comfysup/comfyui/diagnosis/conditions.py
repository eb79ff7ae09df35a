"""What is wrong with a ComfyUI that runs: custom nodes that failed to load, a GPU error that lasts.

Failed custom nodes are found in what ComfyUI writes while it loads.

The texts are those of `load_custom_node` in `nodes.py` and `execute_prestartup_script` in
`main.py`, and the same from 0.3 to 0.45:

- `Cannot import PATH module for custom nodes: ERROR`, behind a traceback;
- `Skip PATH module for custom nodes due to the lack of NODE_CLASS_MAPPINGS …`;
- `Failed to execute startup-script: PATH / ERROR`;
- in the tables of times, for each of them, `SECONDS seconds (IMPORT FAILED): PATH` or
  `… (PRESTARTUP FAILED): PATH`;
- for nodes of ComfyUI's own, `IMPORT FAILED: FILE`.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from pathlib import PurePosixPath
from typing import Final

from comfysup.comfyui.diagnosis.line_kinds import bare
from comfysup.model.printable import printable_line
from comfysup.supervision.protocols import Condition

MAX_CONDITIONS = 50
"""Custom nodes that are named each; a broken torch fails hundreds of them in the same way."""

_MESSAGE_CHARS = 300

_TABLES: Final = {
    "Prestartup times for custom nodes:": {"PRESTARTUP"},
    "Import times for custom nodes:": {"IMPORT", "BUILTIN"},
}
"""The titles of the tables, and the stages whose failures each lists."""
_ROW = re.compile(r" *[\d.]+ seconds \((?P<stage>IMPORT|PRESTARTUP) FAILED\): (?P<path>.+)")
_ERROR = re.compile(
    r"Cannot import (?P<module>.+?) module for custom nodes: (?P<import_error>.*)"
    r"|Failed to execute startup-script: (?P<node>.+?)/[^/]+\.py / (?P<script_error>.*)"
    r"|Skip (?P<skipped>.+?) module for custom nodes due to the lack of NODE_CLASS_MAPPINGS"
)
_BUILTIN = re.compile(r"IMPORT FAILED: (?P<file>\S+\.py)$")
_BUILTIN_DIRECTORIES = {"comfy_extras", "comfy_api_nodes"}
"""Directories of ComfyUI's own nodes; `_BUILTIN` matches their file names without it."""
_MISSING = re.compile(r"No module named '(?P<module>[^']+)'")
_REQUIREMENTS_OF_COMFYUI = (
    "install what this ComfyUI needs: venv/bin/python -m pip install -r requirements.txt"
)
_NO_MAPPINGS = "it defines no NODE_CLASS_MAPPINGS"


def failed_nodes(
    lines: Iterable[str], has_requirements: Callable[[str], bool] = lambda _path: False
) -> Sequence[Condition]:
    """Return a condition for each custom node that failed in the last load in these lines.

    `has_requirements` returns whether the node at a path has a `requirements.txt`. A process that
    re-executes itself loads twice, and the later load follows the earlier one.
    """
    errors: dict[tuple[str, str], str] = {}
    failed: dict[tuple[str, str], None] = {}
    for line in map(bare, lines):
        if found := _ERROR.match(line):
            if found["node"]:
                errors["PRESTARTUP", found["node"]] = found["script_error"]
            else:
                path = found["module"] or found["skipped"]
                error = found["import_error"] or _NO_MAPPINGS
                errors["IMPORT", path] = error
                if PurePosixPath(path).parent.name in _BUILTIN_DIRECTORIES:
                    errors["BUILTIN", PurePosixPath(path).name] = error
        elif stages := _TABLES.get(line):
            failed = {each: None for each in failed if each[0] not in stages}
        elif found := _ROW.fullmatch(line):
            failed[found["stage"], found["path"]] = None
        elif found := _BUILTIN.match(line):
            failed["BUILTIN", found["file"]] = None
    conditions = [
        _condition(stage, path, errors.get((stage, path), ""), has_requirements)
        for stage, path in islice(failed, MAX_CONDITIONS)
    ]
    if more := len(failed) - len(conditions):
        rest = f"{more} more custom nodes could not be imported"
        conditions.append(Condition("custom_node_failed", rest))
    return conditions


def _shown(text: str) -> str:
    """Return a log text without control characters, shortened."""
    return printable_line(text)[:_MESSAGE_CHARS]


def _condition(
    stage: str, path: str, error: str, has_requirements: Callable[[str], bool]
) -> Condition:
    because = f": {error}" if error else ""
    name = PurePosixPath(path).name
    match stage:
        case "BUILTIN":
            message = f"ComfyUI's own nodes of {name} could not be imported{because}"
            return Condition("builtin_node_failed", _shown(message), _REQUIREMENTS_OF_COMFYUI)
        case "PRESTARTUP":
            message = f"the start-up script of the custom node {name!r} failed{because}"
        case _:
            message = f"the custom node {name!r} could not be imported{because}"
    hint = _hint(path, error, has_requirements)
    return Condition("custom_node_failed", _shown(message), _shown(hint))


def _hint(path: str, error: str, has_requirements: Callable[[str], bool]) -> str:
    if missing := _MISSING.search(error):
        what = f"install {missing['module']!r} into the environment's venv"
        if has_requirements(path):
            return f"{what}: venv/bin/python -m pip install -r {path}/requirements.txt"
        return what
    return "`comfysup logs` has the traceback; update the custom node, or remove it"


IN_A_ROW: Final = 3
"""Number of consecutive prompts that must fail so; a single one may be at fault itself."""

_GPU_ERROR = re.compile(r"(?:CUDA|HIP|XPU) error: (?!out of memory)[^\n]+", re.IGNORECASE)


def lasting_gpu_error(failures: Sequence[str]) -> Condition | None:
    """Return the condition of a process whose last prompts all failed with a GPU error, or None.

    CUDA and HIP report an illegal access or a failed assertion at the next call and at every later
    one, so such a process never recovers. Out-of-memory errors are different.

    `failures` are the errors of the last prompts, newest last; "" for a prompt that succeeded.
    """
    newest = failures[-IN_A_ROW:]
    errors = [found[0].strip() for each in newest if (found := _GPU_ERROR.search(each))]
    if len(errors) < IN_A_ROW:
        return None
    return Condition(
        "gpu_fault",
        f"every prompt fails with a GPU error: {errors[-1]}",
        "restart the instance: a process does not recover from this error",
    )
