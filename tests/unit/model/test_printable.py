"""Untrusted text on a terminal."""

import io
import json
import unicodedata
from typing import cast

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st
from typing_extensions import override

from comfysup.cli.log_format import LogStream, configure_logging
from comfysup.model.printable import (
    printable,
    printable_json,
    printable_line,
    printable_values,
    shortened,
)

BIDI = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
SEPARATORS = "\u2028\u2029"
texts = st.text() | st.text(alphabet=BIDI + SEPARATORS + "\x1b\x7f\x80\x9b\x9f\n\t\ra")


def harmful(text: str) -> list[str]:
    """Return the control characters of a text."""
    return [
        char
        for char in text
        if (unicodedata.category(char) in {"Cc", "Zl", "Zp", "Cs"} and char not in "\n\t")
        or char in BIDI
    ]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("größe 大 🙂", "größe 大 🙂"),
        ("a\x1b[2J", r"a\x1b[2J"),
        ("a\x9b2J", r"a\x9b2J"),
        ("\u202egnp.exe", r"\u202egnp.exe"),
        ("a\rb\x7f", r"a\rb\x7f"),
        ("a\nb\tc", "a\nb\tc"),
        ("a\u2028b\udcff", r"a\u2028b\udcff"),
    ],
)
def test_a_terminal_control_character_is_shown_as_an_escape(text: str, shown: str) -> None:
    assert printable(text) == shown


@given(texts)
def test_no_control_character_is_left(text: str) -> None:
    assert harmful(printable(text)) == []
    assert "\n" not in printable_line(text)
    assert printable(printable(text)) == printable(text)


@given(st.recursive(texts, lambda inner: st.lists(inner) | st.dictionaries(texts, inner)))
def test_escaped_json_is_equal_and_printable(value: object) -> None:
    written = printable_json(json.dumps(value, ensure_ascii=False, indent=2))

    assert json.loads(written) == value
    assert [char for char in harmful(written) if not "\ud800" <= char <= "\udfff"] == []


def test_every_text_of_an_answer_is_made_printable() -> None:
    answer = {"a\x9b": ["\x1b", {"b": "\u202e"}, 1, None, True]}

    assert printable_values(answer) == {r"a\x9b": [r"\x1b", {"b": r"\u202e"}, 1, None, True]}


@given(texts, st.integers(1, 80))
def test_a_repeated_value_is_cut_to_its_limit(text: str, most: int) -> None:
    assert len(shortened(text, most)) <= most + 1


def test_the_log_on_a_terminal_contains_no_control_sequence() -> None:
    class Terminal(io.StringIO):
        @override
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    before = structlog.get_config()
    try:
        configure_logging(cast("LogStream", terminal))
        structlog.get_logger().warning("event", error="a\x1b]0;x\x07\x9b2J", names=["\u202e"])
    finally:
        structlog.configure(**before)
    said = terminal.getvalue()

    assert "\x07" not in said
    assert "\x9b" not in said
    assert "\u202e" not in said
    assert r"\x9b2J" in said
