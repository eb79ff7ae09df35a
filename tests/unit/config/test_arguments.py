"""Arguments for ComfyUI: which are refused, and how they are split."""

import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comfysup.config import arguments
from tests.unit.config.fields import field_errors, read


@pytest.mark.parametrize(
    "word",
    ["--port", "--port=3", "--por", "--po=1", "--listen", "--listen=::", "--lis", "--li", "--p"],
)
def test_port_and_listen_are_refused_in_every_notation(word: str) -> None:
    option = "--port" if word.startswith("--p") else "--listen"
    text = f"cannot pass '{word}': comfysup sets {option} itself"

    assert field_errors({"id": 0, "extra_args": ["--lowvram", word]}) == [("extra_args.1", text)]


@pytest.mark.parametrize(
    "word", ["--lowvram", "--preview-method", "--portal", "port", "-port", "--"]
)
def test_an_argument_that_resembles_port_or_listen_is_passed(word: str) -> None:
    assert read(extra_args=[word]).extra_args == (word,)


def test_an_argument_without_shell_syntax_is_unchanged() -> None:
    words = ["a b", ";", "$(id)", "`id`", "|", "two\nlines", "", "ü", '"', "'"]

    assert read(extra_args=words).extra_args == tuple(words)
    assert read(extra_args=shlex.join(words)).extra_args == tuple(words)


@pytest.mark.parametrize("word", ["a\0b", "\ud800"])
def test_an_argument_that_exec_cannot_pass_is_refused(word: str) -> None:
    text = "must not contain NUL or an unpaired surrogate"

    assert field_errors({"id": 0, "extra_args": [word]}) == [("extra_args.0", text)]


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))))
def test_quoted_arguments_are_split_as_by_a_shell(words: list[str]) -> None:
    assert arguments.split(shlex.join(words)) == words
