"""One action on one or more instances: submit all requests, wait, and report."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import click

from comfysup.cli.client import ApiError, NotReachableError
from comfysup.cli.errors import FAILED, NOT_REACHABLE, tell
from comfysup.cli.output import ExitWith, Instance, on_terminal, print_json, sentence
from comfysup.cli.references import with_suggestion
from comfysup.cli.requests import Request


@dataclass(slots=True, kw_only=True)
class Job:
    """An action. `ask` requests it for one reference and returns the instance.

    The action is done when the instance is in the state `goal`, or without an error if `goal` is
    empty. `many` means that the caller passed a list. `describe` returns the line that reports an
    instance.
    """

    ask: Callable[[str], Instance]
    goal: str
    as_json: bool
    many: bool
    describe: Callable[[Instance], str] = sentence
    _results: list[Instance] = field(default_factory=list)
    _code: int = 0

    def run(self, groups: Iterable[Sequence[str]]) -> None:
        """Do it to all of a group at once, and to the next group if that went well; then exit."""
        for refs in groups:
            self._act_on(refs)
            if self._code:
                break
        if self.as_json and (self.many or self._results):
            print_json(self._results if self.many else self._results[0])
        elif self.many and not self._results:
            click.echo("There is nothing to do.")
        raise ExitWith(self._code)

    def _act_on(self, refs: Sequence[str]) -> None:
        requests = [Request(ref, self.ask) for ref in refs]
        if on_terminal() and not self.as_json:
            from comfysup.cli.progress import show_progress

            show_progress(requests)
        for request in requests:
            try:
                self._tell(request.result())
            except ApiError as error:
                suggested = with_suggestion(error, request.ref)
                self._tell_failure(request.ref, suggested, FAILED, error.body)
            except NotReachableError as error:
                self._tell_failure(request.ref, error, NOT_REACHABLE, error.body)

    def _tell(self, instance: Instance) -> None:
        self._results.append(instance)
        if not self.as_json:
            click.echo(self.describe(instance))
        if self.goal and instance["state"] != self.goal:
            self._code = max(self._code, FAILED)
            hint = f"`comfysup logs -f {instance['id']}`"
            click.echo(f"comfysup: timed out waiting; still in progress: {hint}", err=True)

    def _tell_failure(self, ref: str, error: Exception, code: int, body: dict[str, Any]) -> None:
        self._code = max(self._code, code)
        self._results.append({"ref": ref, **body} if self.many else body)
        tell(error)
