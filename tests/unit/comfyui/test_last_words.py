"""Ends of real logs, each with the reason that a person who reads it names.

A line of `last_words.jsonl` holds what was written before and after the process was ready, how the
process ended, the reasons that are right (null: any), what the diagnosis says, and what it never
says. The texts follow the shape of reports in the public trackers of ComfyUI, PyTorch, ROCm and
custom nodes; `reports` holds more of them, each with its source.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from comfysup.comfyui.diagnosis.circumstances import Circumstances
from comfysup.comfyui.diagnosis.diagnosis import diagnose
from comfysup.supervision.life import Exit
from tests.unit.comfyui.last_words import START
from tests.unit.comfyui.reports import ASSETS, REPORTED, Report

CASES = [
    json.loads(line)
    for line in Path(__file__).with_name("last_words.jsonl").read_text().splitlines()
]
KNOWN = Circumstances(
    flags=frozenset({"--listen", "--gpu-only", "--multi-user", "--lowvram", "--novram", "--cpu"})
)


def of(log: str, exit_code: int | None = None, signal: str | None = None) -> Exit:
    return diagnose(
        at=0.0, exit_code=exit_code, signal=signal, log_tail=log.split("\n"), circumstances=KNOWN
    )


def text_of(found: Exit) -> str:
    """Return message and hint as one text."""
    return f"{found.message}; {found.hint}"


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_the_message_of_the_final_error_is_found(case: dict[str, Any]) -> None:
    found = of(case["before_ready"] + case["after_ready"], case["exit_code"], case["signal"])

    assert case["reason"] is None or found.reason in case["reason"], found
    for words in case["says"]:
        assert words in text_of(found)
    for words in case["never_says"]:
        assert words not in text_of(found)


@pytest.mark.parametrize("report", REPORTED, ids=lambda report: report.name)
def test_each_reported_log_is_diagnosed(report: Report) -> None:
    if isinstance(report.ended, str):
        found = of(report.log, signal=report.ended)
    else:
        found = of(report.log, report.ended)

    assert found.reason == report.reason, found
    for words in report.says:
        assert words in text_of(found)
    for words in report.never_says:
        assert words not in text_of(found)


def test_no_two_reports_have_one_name() -> None:
    """A failed test is identified by the name alone."""
    names = [report.name for report in REPORTED]

    assert len(set(names)) == len(names)


@pytest.mark.parametrize(("kind", "reason"), ASSETS.items())
def test_each_kind_of_a_failed_asset_database_has_a_reason(kind: str, reason: str) -> None:
    log = f"{START}\x1b[1m\x1b[31m[ERROR]\x1b[0m ASSETS_STARTUP_FAILED: {kind}\nWhat it is.\n"
    found = of(log, 1)

    assert found.reason == reason
    assert found.hint
