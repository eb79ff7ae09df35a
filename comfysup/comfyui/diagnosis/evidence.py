"""What the files of an environment tell of a process: looked up when that has ended, or is ready.

Blocks on the disk: for threads.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from comfysup.comfyui.diagnosis.circumstances import Circumstances
from comfysup.comfyui.diagnosis.conditions import failed_nodes
from comfysup.comfyui.environment.venv import interpreter_version, package_versions
from comfysup.comfyui.environment.workspace import Environments
from comfysup.supervision.protocols import Condition

REQUIREMENTS = "requirements.txt"
_NODE = re.compile(r"""custom_nodes/([^/"\s:']+)""")


def circumstances_of(
    environments: Environments, name: str, known: Circumstances, lines: Iterable[str]
) -> Circumstances:
    """Return what is known of a process and what its environment adds to that.

    `lines` are its last ones: of the custom nodes only those are looked at that it named. Raises
    `RefusedError` where the environment is gone, and OSError where it cannot be read.
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
    """Return the conditions that the first lines of a process tell of."""
    return failed_nodes(lines, has_requirements=_has_requirements)


def _has_requirements(node: str) -> bool:
    try:
        return (Path(node) / REQUIREMENTS).is_file()
    except OSError:
        return False
