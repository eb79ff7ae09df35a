"""Properties of the plan of a reload over all files and tables."""

from collections.abc import Mapping
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from comfysup.app.reload.plan import Plan, PlanStep, Seen, make_plan
from comfysup.config.instances_file import InstancesFile
from comfysup.model.spec import InstanceSpec
from tests.unit.app.plans import file_of

SPECS = st.builds(
    InstanceSpec,
    id=st.integers(0, 3),
    name=st.sampled_from("ab"),
    environment=st.just("comm"),
    port=st.sampled_from((3001, 3002)),
)
BY_ID = st.dictionaries(st.integers(0, 3), SPECS).map(
    lambda specs: {number: replace(spec, id=number) for number, spec in specs.items()}
)
TABLES = st.tuples(BY_ID, st.sets(st.integers(0, 3))).map(
    lambda drawn: {number: Seen(spec, kept=number in drawn[1]) for number, spec in drawn[0].items()}
)
FILES = st.builds(
    lambda specs, off, mistaken: file_of(
        *(spec for number, spec in specs.items() if number not in {*off, *mistaken}),
        disabled=tuple(s for n, s in specs.items() if n in off and n not in mistaken),
        mistaken=frozenset(mistaken),
    ),
    BY_ID,
    st.sets(st.integers(0, 3)),
    st.sets(st.none() | st.integers(0, 3)),
)


def carried_out(table: Mapping[int, Seen], plan: Plan) -> dict[int, Seen]:
    """Return the table after the plan has succeeded."""
    after = dict(table)
    for number, (step, spec) in plan.steps.items():
        match step:
            case PlanStep.START | PlanStep.RESTART:
                after[number] = Seen(spec, kept=True)
            case PlanStep.UPDATE:
                after[number] = Seen(spec, kept=table[number].kept)
            case PlanStep.STOP:
                del after[number]
            case PlanStep.LEAVE:
                pass
    return after


@given(table=TABLES, applied=BY_ID, file=FILES)
def test_the_same_file_twice_changes_nothing(
    table: dict[int, Seen], applied: dict[int, InstanceSpec], file: InstancesFile
) -> None:
    first = make_plan(table, applied, file)

    second = make_plan(carried_out(table, first), first.applied, file)

    assert second.of(PlanStep.START, PlanStep.RESTART, PlanStep.UPDATE, PlanStep.STOP) == ()
    assert second.applied == first.applied


@given(table=TABLES, applied=BY_ID, file=FILES)
def test_only_instances_named_by_a_valid_entry_or_an_earlier_file_are_stopped_or_restarted(
    table: dict[int, Seen], applied: dict[int, InstanceSpec], file: InstancesFile
) -> None:
    plan = make_plan(table, applied, file)

    named = {entry.spec.id for entry in file.entries}
    assert {spec.id for spec in plan.of(PlanStep.STOP)} <= applied.keys()
    assert {spec.id for spec in plan.of(PlanStep.RESTART, PlanStep.UPDATE)} <= named
    assert all(table[spec.id].kept for spec in plan.of(PlanStep.RESTART))


@given(table=TABLES, applied=BY_ID, file=FILES)
def test_an_invalid_entry_leaves_its_instance_unchanged(
    table: dict[int, Seen], applied: dict[int, InstanceSpec], file: InstancesFile
) -> None:
    plan = make_plan(table, applied, file)

    touched = {
        spec.id
        for spec in plan.of(PlanStep.START, PlanStep.RESTART, PlanStep.UPDATE, PlanStep.STOP)
    }
    assert touched.isdisjoint(file.mistaken)
    if None in file.mistaken:
        assert touched <= {entry.spec.id for entry in file.entries}
