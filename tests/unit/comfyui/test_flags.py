import subprocess
from pathlib import Path

import pytest

from comfysup.comfyui.environment.flags import flags_in, meant_by, parse_options, value_of

# The three shapes in which the real file writes them: parser, group, and over several lines.
CLI_ARGS = """
import argparse, enum
import comfy.options
parser = argparse.ArgumentParser()
parser.add_argument("--listen", type=str, nargs="?", const="0.0.0.0,::", help="as --in-a-help-text")
vram_group = parser.add_mutually_exclusive_group()
vram_group.add_argument("--lowvram", action="store_true")
parser.add_argument(
    "--database-url", "-d", type=str, default=f"sqlite:///{x}",
)
parser.add_argument("--temp-directory", default="--not-a-flag")
# parser.add_argument("--commented-out")
args = parser.parse_args()
"""
KNOWN = frozenset({"--temp-directory", "--tls-keyfile", "--lowvram", "--preview-size"})


def test_the_flags_of_every_add_argument_are_found_without_importing_the_file() -> None:
    expected = {"--listen", "--lowvram", "--database-url", "-d", "--temp-directory"}

    assert expected == parse_options(CLI_ARGS).known


def test_a_file_that_is_not_python_raises_the_error_of_the_parser() -> None:
    with pytest.raises(SyntaxError):
        parse_options("def (:")


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        ("--temp-directory", "--temp-directory"),
        ("--temp-directory=/x=y", "--temp-directory"),
        ("--temp-d", "--temp-directory"),
        ("--te=/x", "--temp-directory"),
        ("--t", None),
        ("--", None),
        ("temp-directory", None),
        ("-t", None),
        ("--temp-directory-of-mine", None),
        ("", None),
    ],
)
def test_an_abbreviated_argument_is_resolved_as_by_argparse(
    argument: str, expected: str | None
) -> None:
    assert expected == meant_by(argument, KNOWN)


def test_the_last_value_of_a_flag_counts_in_every_notation() -> None:
    arguments = ("--temp-directory", "/a", "--lowvram", "--temp-d=/b")

    assert value_of("--temp-directory", arguments, KNOWN) == "/b"
    assert value_of("--temp-directory", arguments[:2], KNOWN) == "/a"
    assert value_of("--preview-size", arguments, KNOWN) is None
    assert value_of("--temp-directory", ("--temp-directory",), KNOWN) is None


def test_flags_in_returns_the_flags_of_the_arguments() -> None:
    given = flags_in(("--lowv", "x", "--tls-keyfile=k", "--unknown"), KNOWN)

    assert given == {"--lowvram", "--tls-keyfile"}


def test_the_reader_finds_the_options_of_argparse(tmp_path: Path) -> None:
    """Only this test executes the text, for comparison."""
    script = tmp_path / "shown.py"
    code = CLI_ARGS.replace("import comfy.options", "x = 1").replace(
        "args = parser.parse_args()", ""
    )
    script.write_text(code + "print(*parser._option_string_actions)")
    shown = subprocess.run(
        ["python3", str(script)], capture_output=True, text=True, check=True
    ).stdout.split()

    assert set(shown) - {"-h", "--help"} == parse_options(CLI_ARGS).known
