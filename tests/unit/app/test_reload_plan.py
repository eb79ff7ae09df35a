"""The plan of a reload, from the table, the applied entries and the file."""

from dataclasses import replace

import pytest

from comfysup.app.reload.plan import Plan, PlanStep, Seen, make_plan, notes
from comfysup.app.reload.reasons import explained
from comfysup.config.instances_file import InstancesFile
from comfysup.model.spec import InstanceSpec, Policy
from tests.unit.app.plans import file_of

MAIN = InstanceSpec(0, "main", "comm", 3001)
OTHER_PORT = replace(MAIN, port=3005)
RENAMED = replace(MAIN, name="renamed")
PATIENT = replace(MAIN, policy=Policy(stop_grace=60))
DESCRIBED = replace(MAIN, description="the one")
BY_CALLER = replace(MAIN, extra_args=("--lowvram",))

RUNS = Seen(MAIN, kept=True)
STOPPED = Seen(MAIN, kept=False)


def plan_of(
    file: InstancesFile, seen: Seen | None = None, before: InstanceSpec | None = None
) -> Plan:
    """Return the plan for at most one instance, with the id 0."""
    return make_plan(
        {0: seen} if seen else {},
        {0: before} if before else {},
        file,
    )


# ---- an entry of the file


@pytest.mark.parametrize(
    ("before", "seen", "wanted", "step", "spec"),
    [
        pytest.param(None, None, MAIN, PlanStep.START, MAIN, id="new: started"),
        pytest.param(None, STOPPED, MAIN, PlanStep.START, MAIN, id="new, in the table: started"),
        pytest.param(
            None,
            Seen(BY_CALLER, kept=False),
            MAIN,
            PlanStep.START,
            MAIN,
            id="new, was another: started",
        ),
        pytest.param(
            None, RUNS, MAIN, PlanStep.LEAVE, MAIN, id="new, a caller runs the same: left"
        ),
        pytest.param(
            None,
            RUNS,
            RENAMED,
            PlanStep.UPDATE,
            RENAMED,
            id="new, runs under another name: updated",
        ),
        pytest.param(
            None,
            Seen(BY_CALLER, kept=True),
            MAIN,
            PlanStep.RESTART,
            MAIN,
            id="new, runs as another",
        ),
        pytest.param(MAIN, RUNS, MAIN, PlanStep.LEAVE, MAIN, id="unchanged: left"),
        pytest.param(
            MAIN, STOPPED, MAIN, PlanStep.LEAVE, MAIN, id="unchanged, a caller stopped it"
        ),
        pytest.param(MAIN, None, MAIN, PlanStep.LEAVE, MAIN, id="unchanged, a caller removed it"),
        pytest.param(
            MAIN,
            Seen(BY_CALLER, kept=True),
            MAIN,
            PlanStep.LEAVE,
            BY_CALLER,
            id="unchanged, a caller started it otherwise",
        ),
        pytest.param(MAIN, RUNS, OTHER_PORT, PlanStep.RESTART, OTHER_PORT, id="another port"),
        pytest.param(
            MAIN, STOPPED, OTHER_PORT, PlanStep.START, OTHER_PORT, id="another port, stopped"
        ),
        pytest.param(
            MAIN, None, OTHER_PORT, PlanStep.START, OTHER_PORT, id="another port, removed"
        ),
        pytest.param(
            MAIN,
            Seen(OTHER_PORT, kept=True),
            OTHER_PORT,
            PlanStep.LEAVE,
            OTHER_PORT,
            id="another port, which a caller has done already",
        ),
        pytest.param(MAIN, RUNS, RENAMED, PlanStep.UPDATE, RENAMED, id="another name"),
        pytest.param(MAIN, RUNS, PATIENT, PlanStep.UPDATE, PATIENT, id="another policy"),
        pytest.param(MAIN, RUNS, DESCRIBED, PlanStep.UPDATE, DESCRIBED, id="another description"),
        pytest.param(MAIN, STOPPED, RENAMED, PlanStep.UPDATE, RENAMED, id="another name, stopped"),
        pytest.param(MAIN, None, RENAMED, PlanStep.LEAVE, RENAMED, id="another name, removed"),
        pytest.param(
            MAIN,
            Seen(BY_CALLER, kept=True),
            RENAMED,
            PlanStep.UPDATE,
            replace(BY_CALLER, name="renamed"),
            id="another name, a caller started it otherwise: keeps the caller's arguments",
        ),
    ],
)
def test_an_enabled_entry(
    before: InstanceSpec | None,
    seen: Seen | None,
    wanted: InstanceSpec,
    step: PlanStep,
    spec: InstanceSpec,
) -> None:
    plan = plan_of(file_of(wanted), seen, before)

    assert plan.steps == {0: (step, spec)}
    assert plan.applied == {0: wanted}


# ---- what the file does not ask for


@pytest.mark.parametrize("seen", [RUNS, STOPPED])
@pytest.mark.parametrize(
    "file",
    [
        pytest.param(file_of(), id="gone"),
        pytest.param(file_of(disabled=(MAIN,)), id="disabled"),
        pytest.param(file_of(disabled=(OTHER_PORT,)), id="disabled and changed"),
    ],
)
def test_an_instance_whose_entry_was_removed_is_stopped(file: InstancesFile, seen: Seen) -> None:
    plan = plan_of(file, seen, before=MAIN)

    assert plan.steps == {0: (PlanStep.STOP, MAIN)}
    assert plan.applied == {}


@pytest.mark.parametrize("file", [file_of(), file_of(disabled=(MAIN,))])
def test_an_instance_that_a_caller_started_is_left_alone(file: InstancesFile) -> None:
    plan = plan_of(file, RUNS)

    assert plan.steps == {0: (PlanStep.LEAVE, MAIN)}
    assert plan.applied == {}


def test_an_instance_that_a_caller_changed_is_left_alone_when_its_entry_is_removed() -> None:
    plan = plan_of(file_of(), Seen(BY_CALLER, kept=True), before=MAIN)

    assert plan.steps == {0: (PlanStep.LEAVE, BY_CALLER)}
    assert plan.applied == {}


def test_an_entry_absent_from_file_and_table_is_forgotten() -> None:
    plan = plan_of(file_of(), None, before=MAIN)

    assert plan.steps == {}
    assert plan.applied == {}


# ---- mistakes


@pytest.mark.parametrize("mistaken", [0, None])
def test_an_instance_whose_entry_may_be_an_invalid_one_is_left_alone(mistaken: int | None) -> None:
    file = file_of(mistaken=frozenset({mistaken}))

    plan = plan_of(file, RUNS, before=MAIN)

    assert plan.steps == {0: (PlanStep.LEAVE, MAIN)}
    assert plan.applied == {0: MAIN}
    assert list(notes(plan, file, file_of())) == [
        "instance 0 'main' is left unchanged until the errors are corrected"
    ]


def test_an_invalid_entry_does_not_protect_other_instances() -> None:
    plan = plan_of(file_of(mistaken=frozenset({7})), RUNS, before=MAIN)

    assert plan.steps == {0: (PlanStep.STOP, MAIN)}


def test_a_valid_disabled_entry_is_stopped_regardless_of_other_errors() -> None:
    file = file_of(disabled=(MAIN,), mistaken=frozenset({None, 7}))

    plan = plan_of(file, RUNS, before=MAIN)

    assert plan.steps == {0: (PlanStep.STOP, MAIN)}


def test_a_valid_entry_is_applied_regardless_of_other_errors() -> None:
    plan = plan_of(file_of(OTHER_PORT, mistaken=frozenset({None})), RUNS, before=MAIN)

    assert plan.steps == {0: (PlanStep.RESTART, OTHER_PORT)}


# ---- why


@pytest.mark.parametrize(
    ("before", "seen", "file", "reason"),
    [
        (None, None, file_of(MAIN), "new in instances.json"),
        (None, STOPPED, file_of(MAIN), "new in instances.json; it does not run"),
        (
            None,
            Seen(BY_CALLER, kept=True),
            file_of(OTHER_PORT),
            (
                "a caller started it with other settings than instances.json: "
                "port 3001 → 3005, extra_args --lowvram → none"
            ),
        ),
        (MAIN, RUNS, file_of(OTHER_PORT), "its entry has changed: port 3001 → 3005"),
        (
            MAIN,
            RUNS,
            file_of(replace(PATIENT, env=(("KEY", "secret"),))),
            "its entry has changed: env (KEY), stop_grace 10 → 60",
        ),
        (
            MAIN,
            RUNS,
            file_of(RENAMED),
            "its entry differs: name main → renamed; no restart needed",
        ),
        (MAIN, RUNS, file_of(), "no longer in instances.json"),
        (MAIN, RUNS, file_of(disabled=(MAIN,)), "disabled in instances.json"),
        (MAIN, RUNS, file_of(MAIN), "unchanged"),
        (MAIN, STOPPED, file_of(MAIN), "its entry is unchanged; a caller stopped it, or it failed"),
        (MAIN, None, file_of(MAIN), "a caller removed it; its entry asks for no new start"),
        (None, RUNS, file_of(MAIN), "a caller started it with the settings of instances.json"),
        (None, RUNS, file_of(), "a caller started it; instances.json does not name it"),
        (None, RUNS, file_of(disabled=(MAIN,)), "a caller started it; its entry is disabled"),
        (
            MAIN,
            RUNS,
            file_of(mistaken=frozenset({0})),
            "its entry may be one of the invalid ones",
        ),
        (
            MAIN,
            Seen(BY_CALLER, kept=True),
            file_of(MAIN),
            "its entry is unchanged; a caller started it with other settings",
        ),
    ],
)
def test_each_action_of_a_plan_has_a_reason(
    before: InstanceSpec | None, seen: Seen | None, file: InstancesFile, reason: str
) -> None:
    table = {0: seen} if seen else {}
    applied = {0: before} if before else {}

    (planned,) = explained(make_plan(table, applied, file), table, applied, file)

    assert planned.reason == reason
