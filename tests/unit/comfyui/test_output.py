"""Prompts in the output of a ComfyUI."""

import pytest

from comfysup.comfyui.output import executions_in, unfinished_in


@pytest.mark.parametrize(
    ("lines", "unfinished"),
    [
        ([], 0),
        (["got prompt", "got prompt"], 2),
        (["Prompt executed in 0.1 seconds", "\x1b[32m[INFO]\x1b[0m got prompt"], 1),
        (["got prompt", "got prompt", "Prompt executed in 00:10:01"], 1),
        (["got prompt", "invalid prompt: {}"], 0),
    ],
)
def test_the_number_of_unfinished_prompts_is_counted_in_the_output(
    lines: list[str], unfinished: int
) -> None:
    assert unfinished_in(lines) == unfinished


@pytest.mark.parametrize(
    ("line", "count"),
    [
        ("Prompt executed in 1.00 seconds", 1),
        ("\x1b[32m[INFO]\x1b[0m \x1b[32mPrompt executed in 615.01 seconds\x1b[0m", 1),
        ("Prompt executed in 00:12:34", 1),
        ("no end of linePrompt executed in 0.50 seconds", 1),
        ("how often is 'Prompt executed in' said?", 0),
        ("got prompt", 0),
    ],
)
def test_the_end_of_a_prompt_is_recognised_by_its_line(line: str, count: int) -> None:
    assert executions_in([line, "more"]) == count
