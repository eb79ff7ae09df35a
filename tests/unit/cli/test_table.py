"""How tables of the command line use the columns of a terminal."""

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from comfysup.api.views.instance_table import duration, size, width
from comfysup.cli.table import Layout, Line, Row, lines_of, wrapped

LAYOUT = Layout(
    frozenset({"PORT", "PID"}), ("PID", "ENVIRONMENT"), frozenset({"ENVIRONMENT"}), lambda *_: {}
)
TEXTS = st.text(st.sampled_from("ab メイé🎉"), min_size=1, max_size=64).map(str.strip).filter(bool)


def row(name: str, *below: Line, environment: str = "comm") -> Row:
    cells = {"NAME": name, "PORT": "3001", "PID": "-", "ENVIRONMENT": environment}
    return Row(cells, below)


def table(columns: int, *rows: Row) -> list[str]:
    return [click.unstyle(line) for line in lines_of(rows, LAYOUT, columns)]


def test_a_column_that_does_not_fit_is_printed_below_the_row() -> None:
    assert table(22, row("main")) == ["NAME  PORT", "main  3001", "    environment comm"]


def test_a_column_without_content_is_not_shown() -> None:
    assert table(80, row("main")) == ["NAME  PORT  ENVIRONMENT", "main  3001  comm"]


def test_a_line_below_continues_behind_its_label() -> None:
    shown = table(30, row("main", Line("hint", "install the module that is missing", {})))

    assert shown[-2:] == ["    hint: install the module", "          that is missing"]


@given(name=TEXTS, environment=TEXTS, said=TEXTS, columns=st.integers(30, 200))
def test_no_line_exceeds_the_terminal_and_no_text_is_lost(
    name: str, environment: str, said: str, columns: int
) -> None:
    lines = table(columns, row(name, Line("reason", said, {}), environment=environment))

    text = "".join("".join(lines).split())
    assert max(map(width, lines)) <= columns
    assert "3001" in text
    for whole in (name, environment, said):
        assert all(char in text for char in whole if not char.isspace())


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("", []),
        ("a bb ccc", ["a bb", "ccc"]),
        ("abcdefgh", ["abcd", "efgh"]),
        ("メイン", ["メイ", "ン"]),
    ],
)
def test_a_text_is_broken_between_words_if_possible(text: str, lines: list[str]) -> None:
    assert wrapped(text, 4) == lines


def test_durations_and_sizes_have_at_most_two_units() -> None:
    assert [duration(each) for each in (7, 125, 7_500, 90_000)] == ["7s", "2m 5s", "2h 5m", "1d 1h"]
    assert [size(each << 20) for each in (0, 812, 3_200)] == ["0 MiB", "812 MiB", "3.1 GiB"]
