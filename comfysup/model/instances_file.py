"""The errors of instances.json, and the outcome of a reload."""

from dataclasses import dataclass

from comfysup.model.spec import InstanceSpec


@dataclass(frozen=True)
class ConfigError:
    """One error. The API returns it unchanged.

    `place` is a path such as `instances[0].port`, empty for the whole file.

    `line` and `column` count from 1, and are 0 if the file could not be read. `text` states the
    invalid value and the allowed ones.
    """

    place: str
    """for example `instances[0].port`; empty for the whole file"""
    line: int
    """from 1; 0 if the file could not be read"""
    column: int
    """from 1; 0 if the file could not be read"""
    text: str
    """the value that was found, and the allowed ones"""

    @property
    def summary(self) -> str:
        """`line 4, instances[0].port: must be …`, or `line 4, column 7: …` without a path."""
        if not self.line:
            return self.text
        return f"line {self.line}, {self.place or f'column {self.column}'}: {self.text}"


@dataclass(frozen=True, slots=True)
class Planned:
    """The action for one instance, and its reason; `spec` is the resulting spec."""

    spec: InstanceSpec
    action: str
    reason: str


@dataclass(frozen=True, slots=True)
class Failure:
    """An instance that could not be changed as the file requests.

    `refused` means that no attempt was made, so the next reload tries again.
    """

    spec: InstanceSpec
    code: str
    message: str
    refused: bool = True


@dataclass(frozen=True, slots=True)
class ReloadOutcome:
    """The instances that a reload started, stopped and so on; none unless `legible`.

    `unusable` holds the labels of enabled entries that are invalid. `plan` holds every instance
    with the action and its reason. In a `dry_run` nothing is done: the lists hold what a reload
    would do.
    """

    legible: bool
    dry_run: bool = False
    plan: tuple[Planned, ...] = ()
    started: tuple[InstanceSpec, ...] = ()
    stopped: tuple[InstanceSpec, ...] = ()
    restarted: tuple[InstanceSpec, ...] = ()
    updated: tuple[InstanceSpec, ...] = ()
    left_alone: tuple[InstanceSpec, ...] = ()
    failed: tuple[Failure, ...] = ()
    mistakes: tuple[ConfigError, ...] = ()
    unusable: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
