"""The commands of README, tutorial and how-to guides, run as their pages say.

Each page is a story on a daemon of its own, with the demo's environments. Every fenced block is
one of:

- `console`: commands behind `$ `, each with what it prints (see `console.py`);
- below `<!-- run -->`: commands that end well, whatever they print;
- below `<!-- file: NAME -->`: a file that is written into the directory of the commands;
- below `<!-- yaml -->`: YAML, whose variables are settings and whose commands are ours;
- below `<!-- not run: REASON -->`: not run; commands of comfysup in it exist, with their options.

`<!-- before: COMMAND -->` runs a command that the reader does not need, and `<!-- daemon: A=B -->`
gives the daemon variables. `comfysup-start NAME PORT` in it starts an instance.
"""

import asyncio
import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
import yaml  # type: ignore[import-untyped]  # comes with mkdocs, without stubs

from comfysup.cli.commands import COMMANDS
from comfysup.cli.commands import comfysup as program
from comfysup.config.settings import Settings
from comfysup.demo.workspace import build_environment
from tests.cli.console import Command, commands, run
from tests.scenarios.harness import Daemon

ROOT = Path(__file__).parents[2]
PAGES = [
    ROOT / "README.md",
    *sorted((ROOT / "docs" / "tutorial").glob("*.md")),
    *sorted((ROOT / "docs" / "how-to").glob("*.md")),
]
ENVIRONMENTS = ("comm", "aua-sp")
PORTS = ("3001", "3002", "3003", "3005")

STEP = re.compile(
    r"^<!-- (?P<mark>[^\n]*) -->\n(?:```(?P<marked>\w*)\n(?P<text>.*?)```)?"
    r"|^```(?P<kind>\w*)\n(?P<block>.*?)```",
    re.DOTALL | re.MULTILINE,
)

START = (
    "curl -sf http://localhost:8001/api/comfyui/start-single -H 'Content-Type: application/json' "
    """-d '{{"id": 0, "name": "{}", "port": {}}}'"""
)

Step = tuple[str, str, str]
"""What is done (`run`, `console`, `file` …), what the mark says beside it, and the block."""


def steps(text: str) -> Iterator[Step]:
    for found in STEP.finditer(text):
        if found["mark"] is None:
            assert found["kind"] == "console", f"a block without a mark: {found['block']}"
            yield "console", "", found[0]
            continue
        what, _, rest = found["mark"].partition(": ")
        if found["text"] is None:
            assert what in {"before", "daemon"}, f"a mark without a block: {found['mark']}"
        yield what, rest, found["text"] or ""


def story(page: Path) -> list[Step]:
    return list(steps(page.read_text()))


def is_run(page: Path) -> bool:
    return any(what in {"console", "run"} for what, _, _ in story(page))


RUN = [page for page in PAGES if is_run(page)]


@pytest.mark.skipif(shutil.which("curl") is None, reason="the pages call curl")
@pytest.mark.parametrize("page", RUN, ids=lambda page: page.stem)
async def test_each_command_of_a_page_prints_the_output_on_the_page(page: Path) -> None:
    daemon = Daemon()
    try:
        for name in ENVIRONMENTS:
            build_environment(daemon.workspace, name)
        told = story(page)
        variables = dict(
            pair.split("=", 1)
            for what, rest, _ in told
            if what == "daemon"
            for pair in rest.split()
        )
        await daemon.start(variables=variables, backoff_initial=60, backoff_max=60)
        ports = {"8001": str(daemon.port)} | {port: str(daemon.ports.reserve()) for port in PORTS}
        for what, rest, block in told:
            text = _at(ports, block)
            if what == "file":
                (daemon.root / rest).write_text(text)
            for command in _commands(what, _at(ports, rest), text, ports):
                printed = await asyncio.get_running_loop().run_in_executor(
                    None, run, command, daemon
                )
                assert command.pattern.match(printed), f"{command.text}\n{printed}"
    finally:
        await daemon.close()


def _at(ports: dict[str, str], text: str) -> str:
    return re.sub("|".join(ports), lambda found: ports[found[0]], text)


def _commands(what: str, rest: str, text: str, ports: dict[str, str]) -> Iterator[Command]:
    match what:
        case "console":
            yield from commands(text)
        case "run":
            yield Command(f"set -e\n{text}")
        case "before":
            if rest.startswith("comfysup-start "):
                rest = _at(ports, START).format(*rest.split()[1:])
            yield Command(rest)
        case _:
            pass


# ---- what is not run

CALL = re.compile(r"(?<![\w/.:-])comfysup ([a-z][^|;&`\n)]*)")
INLINE = re.compile(r"`comfysup ([a-z][^`]*)`")
OF_HEALTH = {"--ready", "--instance"}


def calls_in(page: Path) -> Iterator[str]:
    for what, _, block in story(page):
        if what == "not run":
            yield from CALL.findall(block)
    for call in INLINE.findall(page.read_text()):
        if call.split()[0] in COMMANDS:
            yield call


def mistake_in(call: str) -> str | None:
    """Return the parts of a command line of comfysup that do not exist."""
    command: click.Command = program
    context = click.Context(program)
    for word in shlex.split(call.partition("#")[0].replace("…", "")):
        if isinstance(command, click.Group):
            found = command.get_command(context, word)
            if found is None:
                return f"no command {word}"
            command = found
        elif word.startswith("-") and not word[1:].isdigit():
            known = {name for each in command.params for name in (*each.opts, *each.secondary_opts)}
            known |= OF_HEALTH if command.name == "health" else set()
            if word.partition("=")[0] not in known | {"--help", "-h"}:
                return f"no option {word}"
    return None


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_commands_that_a_page_names_exist_with_their_options(page: Path) -> None:
    assert {call: mistake for call in calls_in(page) if (mistake := mistake_in(call))} == {}


def test_a_command_that_does_not_exist_is_found() -> None:
    assert mistake_in("stop --all --drain 60 # text") is None
    assert mistake_in("stop --everything") == "no option --everything"
    assert mistake_in("env cheque") == "no command cheque"


def _values(value: object, key: str) -> Iterator[object]:
    match value:
        case dict():
            if key in value:
                yield value[key]
            for each in value.values():
                yield from _values(each, key)
        case list():
            for each in value:
                yield from _values(each, key)
        case _:
            pass


MANIFESTS = [block for page in PAGES for what, _, block in story(page) if what == "yaml"]


@pytest.mark.parametrize("manifest", MANIFESTS)
def test_a_manifest_holds_settings_and_commands_that_exist(manifest: str) -> None:
    read = yaml.safe_load(manifest)
    variables = {
        each["name"]: each["value"]
        for found in _values(read, "env")
        if isinstance(found, list)
        for each in found
        if not each["name"].endswith("_FILE")
    }
    settings = Settings.from_environ(variables, 0)
    lines = [shlex.join(found) for found in _values(read, "command") if isinstance(found, list)]

    assert settings.warnings == ()
    assert settings != Settings.from_environ({}, 0)
    assert lines
    assert [mistake_in(line.removeprefix("comfysup ")) for line in lines] == [None] * len(lines)


def test_the_compose_file_holds_settings_and_a_command_that_exist() -> None:
    read = yaml.safe_load((ROOT / "deploy" / "compose.yaml").read_text())
    service = read["services"]["comfyui"]
    _, _, *health = service["healthcheck"]["test"]

    assert Settings.from_environ(dict.fromkeys(service["environment"], ""), 0).warnings == ()
    assert mistake_in(shlex.join(health)) is None
