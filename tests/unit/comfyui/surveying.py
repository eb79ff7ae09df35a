"""Surveys of a workspace."""

from pathlib import Path

from comfysup.comfyui.environment.workspace import Environments
from comfysup.model.environment import Survey


def survey_all(workspace: Path) -> list[Survey]:
    """Return the survey of each environment."""
    environments = Environments(workspace)
    return [each for name in environments.names() if (each := environments.survey_any(name))]
