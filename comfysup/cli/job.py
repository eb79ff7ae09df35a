"""One thing done to one or more instances: asked at once, waited for, and told."""

import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import click

from comfysup.cli.client import ApiError
from comfysup.cli.errors import FAILED, tell
from comfysup.cli.printing import Instance, print_json, sentence
from comfysup.cli.requests import Request, wait_for


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """`ask` does it to the instance that a reference means, and returns that.

    It is done when the instance is in the state `goal`; where that is empty, when no error came.
    """

    ask: Callable[[str], Instance]
    goal: str
    as_json: bool
    many: bool

    def run(self, groups: Iterable[Sequence[str]]) -> None:
        """Do it to all of a group at once, and to the next group if that went well; then exit."""
        instances: list[Instance] = []
        well = True
        for refs in groups:
            if well:
                answers = self._ask_all(refs)
                instances += answers
                well = len(answers) == len(refs) and all(map(self._done, answers))
        if self.as_json and (self.many or instances):
            print_json(instances if self.many else instances[0])
        elif self.many and not instances and well:
            click.echo("There is nothing to do.")
        sys.exit(0 if well else FAILED)

    def _ask_all(self, refs: Sequence[str]) -> list[Instance]:
        """Return the instances of those requests that were answered without an error."""
        requests = [Request(ref, self.ask) for ref in refs]
        wait_for(requests, quiet=self.as_json)
        answers = []
        for request in requests:
            try:
                answers.append(request.result())
            except ApiError as error:
                tell(error)
            else:
                self._tell(answers[-1])
        return answers

    def _tell(self, instance: Instance) -> None:
        if not self.as_json:
            click.echo(sentence(instance))
        if not self._done(instance):
            hint = f"`comfysup logs -f {instance['id']}`"
            click.echo(f"comfysup: that took too long to wait for; it goes on: {hint}", err=True)

    def _done(self, instance: Instance) -> bool:
        return not self.goal or bool(instance["state"] == self.goal)
