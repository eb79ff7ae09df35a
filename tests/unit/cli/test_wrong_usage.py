"""Errors of commands with invalid arguments, without a daemon."""

import subprocess
import sys

import pytest
from click.testing import CliRunner

from comfysup.cli import health
from comfysup.cli.commands import comfysup
from comfysup.cli.references import nearest

TIME = 'must be a time of at least 0, such as "90", "90s", "1.5m" or "2h", is'


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("start 0 --timeout x", f"'--timeout': {TIME} 'x'"),
        ("stop 0 --drain -1", f"'--drain': {TIME} '-1'"),
        ("restart 0 --drain nan", f"'--drain': {TIME} 'nan'"),
        ("events --reconnect 1w", f"'--reconnect': {TIME} '1w'"),
        ("events --since x", "'--since': must be a whole number of at least 0, is 'x'"),
        ("events --since -1", "'--since': must be a whole number of at least 0, is '-1'"),
        ("logs 0 -n x", "must be a whole number from 0 to 10000000, is 'x'"),
        ("start 0 --rescue all --drop-running", "--drop-running is --rescue waiting"),
        ("stop 0 --drop-running --rescue none", "--drop-running is --rescue waiting"),
        ("stat", "no command 'stat'; did you mean 'status'?"),
        (
            "legacy multi start-ports 5-1",
            "cannot use the ports '5-1': they must be A-B, from the lower to the higher, at most",
        ),
    ],
)
def test_an_invalid_argument_is_reported_with_the_allowed_values(words: str, said: str) -> None:
    result = CliRunner().invoke(comfysup, words.split())

    assert result.exit_code == 2, result.output
    assert said in " ".join(result.output.split())


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--foo"], "health: unknown argument '--foo'"),
        (["--instance"], "health: --instance needs the id or the name of an instance"),
        (["--instance="], "health: --instance needs the id or the name of an instance"),
        (["--ready", "\x1b[2J"], "health: unknown argument"),
    ],
)
def test_health_reports_an_unknown_argument(
    capfd: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    assert health.main(words) == 2

    told = capfd.readouterr().err
    assert said in told
    assert "\x1b" not in told


def test_a_common_prefix_is_nearer_than_a_similar_spelling() -> None:
    known = ["start", "status", "stop"]

    assert [nearest(word, known) for word in ("stat", "strat", "sto", "xyz")] == [
        "status",
        "start",
        "stop",
        None,
    ]


def test_the_commands_load_with_non_generic_types_of_click() -> None:
    """As with 8.2 and 8.3, which pyproject.toml allows."""
    older = "import click; click.ParamType.__class_getitem__ = None; import comfysup.cli.times"

    loaded = subprocess.run(
        [sys.executable, "-c", older], check=False, capture_output=True, text=True
    )

    assert loaded.returncode == 0, loaded.stderr
