"""docs/reference names every exit reason, event and setting of the code, and no other."""

import ast
import dataclasses
import re

import pytest

from comfysup.api.views import events as views
from comfysup.comfyui.diagnosis.patterns import ABORT, PATTERNS, SIGNALS
from comfysup.config.settings import Settings
from comfysup.config.variables import _ELSEWHERE, Variables
from comfysup.linux.rundir import claims, run_directory
from comfysup.model.observed import PromptEventName
from comfysup.supervision.generation import CALLED_OFF
from comfysup.supervision.life import REBOOT
from comfysup.supervision.lifecycle_events import LifecycleEvent, Unresponsive
from tests.unit.docs.pages import SOURCE, argument, calls, page, rows, table, words

# ---- exit reasons


def reasons_in_source() -> set[object]:
    found: set[object] = {each.reason for each in PATTERNS} | {
        reason for reason, _, _ in SIGNALS.values()
    }
    found |= {ABORT[0], CALLED_OFF[0], REBOOT}
    explanations = ast.parse((SOURCE / "comfyui" / "diagnosis" / "diagnosis.py").read_text())
    for node in ast.walk(explanations):
        match node:
            case ast.Return(value=ast.Tuple(elts=[ast.Constant(value=str(code)), _, _])):
                found.add(code)
            case _:
                pass
    for name, place in (("LaunchError", 0), ("Exit", 1), ("Unresponsive", 2)):
        for call in calls(name):
            if reason := argument(call, place, "reason"):
                found.add(reason)
    for call in calls("replace", below="supervision"):
        if reason := argument(call, 9, "reason"):
            found.add(reason)
    for call in calls("Recover", below="supervision"):
        for each in call.keywords:
            if each.arg == "verdict" and isinstance(each.value, ast.Tuple):
                first = each.value.elts[0]
                found |= {first.value} if isinstance(first, ast.Constant) else set()
    found.add(Unresponsive(1, "").reason)
    # `_reason` of the launcher, and what the monitor says of a worker.
    found |= {"disk_full", "spawn_failed", "environment_unresponsive", "worker_dead"}
    return found


def test_every_exit_reason_is_in_the_page_and_the_reverse() -> None:
    assert reasons_in_source() == set(table(page("reference/exit-reasons.md"), "reason"))


def test_every_exit_reason_has_a_meaning_and_a_remedy() -> None:
    written = rows(page("reference/exit-reasons.md"), "reason")

    assert [row for row in written if len(row) != 3 or not all(row)] == []


# ---- events

VIEWS: dict[str, type] = {
    **dict.fromkeys(LifecycleEvent, views.InstanceEventView),
    **dict.fromkeys(PromptEventName, views.PromptEventView),
    "config.reloaded": views.ReloadEventView,
    "daemon.started": views.DaemonEventView,
    "daemon.stopping": views.DaemonEventView,
    "daemon.impaired": views.DaemonEventView,
    "daemon.recovered": views.DaemonEventView,
    "events.missed": views.MissedView,
}

EVENTS = table(page("reference/events.md"), "event")


def test_every_event_is_in_the_page_and_the_reverse() -> None:
    assert set(map(str, VIEWS)) == set(EVENTS)


def test_every_emitted_event_is_in_the_list() -> None:
    text = (SOURCE / "api" / "event_publisher.py").read_text()
    announced = set(re.findall(r'"((?:daemon|config|events)\.[a-z]+)"', text))
    announced |= {f"daemon.{argument(call, 0)}" for call in calls("daemon", below="app")} - {
        "daemon.None"
    }

    assert announced == {
        name for name in map(str, VIEWS) if not name.startswith(("instance.", "prompt."))
    }


@pytest.mark.parametrize("name", VIEWS, ids=str)
def test_the_fields_of_an_event_are_those_of_its_view(name: str) -> None:
    fields = [each.name for each in dataclasses.fields(VIEWS[name])]

    assert fields == words(EVENTS[str(name)][1])


# ---- settings


def names_of_settings() -> set[str]:
    read: list[Variables] = []
    before = Variables.__init__

    def remember(self: Variables, environ: dict[str, str]) -> None:
        before(self, environ)
        read.append(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Variables, "__init__", remember)
        Settings.from_environ({}, 0)
    return read[0]._known - set(_ELSEWHERE)


SETTINGS = table(page("reference/settings.md"), "name")


def test_every_setting_is_in_the_page_and_the_reverse() -> None:
    assert names_of_settings() == set(SETTINGS)


@pytest.mark.parametrize("name", SETTINGS)
def test_the_documented_default_of_a_setting_is_its_default(name: str) -> None:
    default = words(SETTINGS[name][2])
    if not default or default[0].startswith("<") or name == "COMFYSUP_RUN_DIR":
        return

    assert Settings.from_environ({}, 0) == Settings.from_environ({name: default[0]}, 0)


@pytest.mark.parametrize("name", SETTINGS)
def test_the_example_of_a_setting_is_valid(name: str) -> None:
    [example] = words(SETTINGS[name][3])
    if name.endswith("_FILE") and "TOKEN" in name:
        assert example.startswith("/")
        return

    assert Settings.from_environ({}, 0) != Settings.from_environ({name: example}, 0)


# ---- files

FILES = table(page("reference/files.md"), "run directory")


def test_every_file_of_the_run_directory_is_in_the_page() -> None:
    said = re.findall(r"^[├└]── (\S+)", run_directory.__doc__ or "", re.MULTILINE)

    assert [name for name in said if name not in FILES] == []


def test_the_locks_of_volumes_are_in_the_page() -> None:
    written = page("reference/files.md")

    assert f"`{claims.LOGS}`" in written
    assert f"`{claims.INSTANCES}`" in written
