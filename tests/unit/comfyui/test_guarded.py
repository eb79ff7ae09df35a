"""Which arguments require a token, according to argparse itself."""

import argparse
import contextlib
import io
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from comfysup.comfyui.environment.flags import parse_options
from comfysup.comfyui.guarded import guarded
from comfysup.demo import arguments as standin
from comfysup.model.environment import Environment

CLI_ARGS = """
import argparse, enum, os
parser = argparse.ArgumentParser()
parser.add_argument("--port", type=int, default=8188)
parser.add_argument("--enable-cors-header", type=str, metavar="ORIGIN", nargs="?", const="*")
parser.add_argument("--base-directory", type=str)
parser.add_argument("--extra-model-paths-config", type=str, nargs="+", action="append")
parser.add_argument("--temp-directory", type=str)
parser.add_argument("--tls-keyfile", type=str)
parser.add_argument("--user-directory", type=os.path.abspath)
parser.add_argument("--models-directory", "-m", type=os.path.abspath)
parser.add_argument("--verbose", nargs="*", default=[], metavar="LEVEL FILE")
parser.add_argument("--cuda-device", type=str)
parser.add_argument("--default-device", type=int)
parser.add_argument("--reserve-vram", type=float)
parser.add_argument("--cache-ram", nargs="*", type=float)
parser.add_argument("--default-hashing-function", type=str, choices=["md5", "sha256"])
class PerformanceFeature(enum.Enum):
    AutoTune = "autotune"
parser.add_argument("--fast", nargs="*", type=PerformanceFeature)
group = parser.add_mutually_exclusive_group()
group.add_argument("--lowvram", action="store_true")
group.add_argument("--novram", action="store_true")
"""
HARMFUL = ("base_directory", "temp_directory", "tls_keyfile", "user_directory", "models_directory")


def environment_of(text: str) -> Environment:
    found = parse_options(text)
    return Environment("comm", Path("/w"), (), (), found.known, harmless=found.harmless)


NEWEST = environment_of(CLI_ARGS)
UNREADABLE = environment_of("")


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("--lowvram",),
        ("--lowv",),
        ("--reserve-vram", "0.5"),
        ("--default-device=1",),
        ("--cuda-device", "0,1"),
        ("--fast",),
        ("--fast", "autotune"),
        ("--default-hashing-function", "md5"),
        ("--enable-cors-header",),
        ("--enable-cors-header", "*"),
        ("--enable-cors-header", "https://page.example:8000"),
        ("--verbose",),
        ("--verbose", "DEBUG"),
        ("--cache-ram", "1", "2.5"),
        ("--no-such-switch",),
    ],
)
def test_switches_numbers_and_choices_are_free(arguments: tuple[str, ...]) -> None:
    assert guarded(arguments, NEWEST) is None


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("--temp-directory", "custom_nodes"), "--temp-directory"),
        (("--temp-directory=custom_nodes",), "--temp-directory"),
        (("--temp-d", "x"), "--temp-directory"),
        (("--b=/x",), "--base-directory"),
        (("--lowvram", "--extra-model-paths-config", "a", "b"), "--extra-model-paths-config"),
        (("--user-directory", "/x"), "--user-directory"),
        (("-m", "/x"), "-m"),
        (("-m/x",), "-m/x"),
        (("--temp-directory", "-5"), "--temp-directory"),
        (("--temp-directory", "--", "x"), "'--'"),
        (("--verbose", "DEBUG", "/etc/cron.d/x"), "--verbose"),
        (("--verbose", "DEBUG", "DEBUG"), "--verbose"),
        (("--enable-cors-header", "/x"), "--enable-cors-header"),
        (("--some-new-directory", "/x"), "--some-new-directory"),
        (("--some-new-directory=/x",), "--some-new-directory"),
        (("/evil.yaml",), "/evil.yaml"),
        (("--lowvrm=/x",), "did you mean '--lowvram'?"),
    ],
)
def test_an_option_that_may_name_a_file_is_guarded(arguments: tuple[str, ...], named: str) -> None:
    reason = guarded(arguments, NEWEST)

    assert reason is not None
    assert named in reason


@pytest.mark.parametrize("arguments", [("--lowvram",), ("--reserve-vram", "1"), ("--fast",)])
def test_with_unreadable_options_known_harmless_arguments_stay_allowed(
    arguments: tuple[str, ...],
) -> None:
    assert guarded(arguments, UNREADABLE) is None


@pytest.mark.parametrize("arguments", [("--temp-directory", "x"), ("--anything=x",), ("x",)])
def test_with_unreadable_options_every_other_value_is_guarded(
    arguments: tuple[str, ...],
) -> None:
    assert guarded(arguments, UNREADABLE) is not None


def test_harmless_options_of_comfyui_are_distinguished_from_guarded_ones() -> None:
    found = parse_options(standin.source())

    takes_text = found.known - found.harmless
    assert {"--temp-directory", "--database-url", "--front-end-version"} <= takes_text
    assert {"--lowvram", "--cache-lru", "--preview-method", "--reserve-vram"} <= found.harmless


def test_an_option_declared_twice_is_harmless_only_if_both_are() -> None:
    found = parse_options('p.add_argument("--x", type=int)\np.add_argument("--x", type=str)')

    assert (set(found.known), set(found.harmless)) == ({"--x"}, set())


words = st.sampled_from(
    [
        *("--lowvram", "--novram", "--fast", "autotune", "--verbose", "DEBUG", "--cache-ram", "1"),
        *("--temp-directory", "--temp-d", "--temp-directory=D", "--b", "--base-directory=", "D"),
        *("--extra-model-paths-config", "--user-directory", "-m", "-mD", "--", "-", "-5", "-x y"),
        *("--enable-cors-header", "*", "--t", "--tls-keyfile=D", "--default-device", "--c", ""),
        *("--verbose=D", "--reserve-vram=1", "--port", "--models", "--d", "--default-d"),
    ]
)


@settings(max_examples=2_000)
@given(st.lists(words, max_size=4))
def test_an_allowed_argument_sets_no_path_in_any_reading_of_argparse(arguments: list[str]) -> None:
    """After an option of the operator that takes any number of values."""
    if guarded(arguments, NEWEST) is not None:
        return
    names: dict[str, argparse.ArgumentParser] = {}
    exec(compile(CLI_ARGS, "cli_args.py", "exec"), names)  # noqa: S102 - the text above
    before = ["--extra-model-paths-config", "/operator.yaml"]
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            found = vars(names["parser"].parse_args([*before, *arguments]))
    except SystemExit:
        return  # refused by ComfyUI itself

    assert found.pop("extra_model_paths_config") == [["/operator.yaml"]]
    assert [found.get(name) for name in HARMFUL if found.get(name)] == []
    assert found["verbose"] in ([], ["DEBUG"])
