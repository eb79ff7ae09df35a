"""The errors of instances.json, and what a reload of it did."""

from dataclasses import dataclass

from comfysup.model.spec import InstanceSpec


@dataclass(frozen=True)
class ConfigError:
    """One mistake. The API shows it as it stands.

    `place` is a path such as `instances[0].port`, empty for the whole file.

    `line` and `column` count from 1, and are 0 where the file could not be read; `text` says what
    was found and what is allowed.
    """

    place: str
    line: int
    column: int
    text: str

    @property
    def summary(self) -> str:
        """`line 4, instances[0].port: must be …`, or `line 4, column 7: …` where no path is."""
        if not self.line:
            return self.text
        return f"line {self.line}, {self.place or f'column {self.column}'}: {self.text}"


@dataclass(frozen=True, slots=True)
class Planned:
    """What is done about one instance, and why; `spec` is what it gets."""

    spec: InstanceSpec
    action: str
    reason: str


@dataclass(frozen=True, slots=True)
class Failure:
    """An instance that could not be made what the file says.

    `refused` when it was not even tried, so that the next reload tries again.
    """

    spec: InstanceSpec
    code: str
    message: str
    refused: bool = True


@dataclass(frozen=True, slots=True)
class ReloadOutcome:
    """Who was started, stopped and so on; nobody at all unless the file was `legible`.

    `unusable` are labels of enabled entries that are mistaken.
    `plan` has every instance with the reason for what is done about it. In a `dry_run` nothing has
    been done: the lists tell what would be.
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
