"""Reads instances.json for instances that are not in the table, as the daemon reads it.

The command line reads the file itself, because the daemon enters its instances into the table only
by autolaunch or reload.
"""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from comfysup.cli.client import API, ApiError, Client, instance_path
from comfysup.cli.output import Instance
from comfysup.cli.references import with_suggestion
from comfysup.config.instances_file import Entry, InstancesFile, read_instances_file
from comfysup.config.settings import Settings
from comfysup.model.spec import InstanceSpec, Policy


class DaemonsFile:
    """The file of the daemon that answers."""

    def __init__(self, client: Client) -> None:
        self._client = client
        shown = client.get(f"{API}/daemon")["settings"]
        self.path = Path(shown["instances_file"])
        # Without EXTRA_ARGS: the daemon puts them before those of every body.
        settings = Settings(
            environment=shown["environment"],
            base_port=shown["base_port"],
            port=shown["port"],
            policy=Policy(**shown["policy"]),
        )
        self.base_port: int = shown["base_port"]
        self._file: InstancesFile = read_instances_file(self.path, settings)

    @property
    def enabled(self) -> list[InstanceSpec]:
        return list(self._file.specs)

    @property
    def entries(self) -> tuple[Entry, ...]:
        return self._file.entries

    @property
    def mistakes(self) -> list[str]:
        return [each.summary for each in self._file.mistakes]

    def find(self, ref: str, unknown: ApiError) -> InstanceSpec:
        """Return the instance of that id or name. Raises `unknown` with the names in the file."""
        entry = self._file.find(ref)
        if entry is not None:
            return entry.spec
        known = ", ".join(each.spec.label for each in self.entries) or "none"
        text = f"{unknown}\n  {self.path} has: {known}"
        if not (self.entries or self.mistakes or self.path.exists()):
            text = (
                f"{unknown}\n  {self.path} does not exist; "
                "to create an instance, send POST …/start-single"
            )
        if self.mistakes:
            text += ", and errors: see `comfysup config check`"
        names = [each.spec.name for each in self.entries]
        raise with_suggestion(ApiError(unknown.status, text, unknown.code), ref, names)

    def start(self, spec: InstanceSpec, **query: object) -> Instance:
        """Start an instance of the file and return it; raises `ApiError`."""
        body = {"instances": [body_of(spec)]}
        result = self._client.post(f"{API}/start-instances", body, **query)["results"][0]
        if result["status"] in {"failed", "error"}:
            raise ApiError(500, _explained(spec, result["error"]), result["code"])
        instance: Instance = self._client.get(instance_path(str(spec.id)))
        return instance


def _explained(spec: InstanceSpec, reason: str) -> str:
    begun = "cannot start "
    return reason if reason.startswith(begun) else f"{begun}instance {spec.label}: {reason}"


def body_of(spec: InstanceSpec) -> dict[str, Any]:
    """Return a spec in the form of the API's bodies."""
    written = {name: value for name, value in asdict(spec).items() if name != "policy"}
    return written | {"env": dict(spec.env)} | asdict(spec.policy)
