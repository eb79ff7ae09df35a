"""The transition table in the documentation is generated from the program."""

from tests.unit.supervision.transition_table import PAGE, page_with, render


def test_the_transition_table_on_the_page_is_generated_from_step() -> None:
    page = PAGE.read_text("utf-8")

    assert page == page_with(render(), page), (
        "run `python -m tests.unit.supervision.transition_table` and look at what it changes"
    )
