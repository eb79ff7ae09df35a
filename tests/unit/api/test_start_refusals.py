"""`POST /api/comfyui/start-instances`: refusals of one instance and of the request."""

import difflib
from typing import Any

import pytest

from tests.unit.api.results import results, statuses
from tests.unit.api.site import API, one, several, site_of, world_of
from tests.unit.supervision.fakes import FakeLauncher

START = f"{API}/start-instances"


async def test_refused_and_started_instances_have_separate_results() -> None:
    launcher = FakeLauncher()
    launcher.broken_environments = {"gone"}
    launcher.strangers = {3005: "nginx (pid 7)"}
    async with site_of(world_of(launcher)) as site:
        bodies = [one(0), one(1, environment="gone"), one(2, port=8001), one(3, port=3005)]
        answer = await site.post(START, several(*bodies))
        known = [instance.spec.id for instance in site.fleet]

    assert statuses(answer) == ["started", "error", "error", "error"]
    assert [result.get("code") for result in results(answer)] == [
        None,
        "unknown_environment",
        "port_taken",
        "port_taken",
    ]
    assert results(answer)[2]["error"] == (
        "cannot start instance 2 'comfyui-2': port 8001 belongs to comfysup itself"
    )
    assert (results(answer)[1]["state"], results(answer)[1]["pid"]) == (None, None)
    assert known == [0]


async def test_another_spec_for_a_running_instance_is_a_conflict_and_changes_nothing() -> None:
    async with site_of() as site:
        await site.post(START, several(one()))
        answer = await site.post(START, several(one(port=3009)))
        port = site.fleet.find("0").spec.port

    result = results(answer)[0]
    assert (result["status"], result["code"], result["port"]) == ("error", "spec_conflict", 3009)
    assert (result["state"], result["pid"], port) == ("running", 4242, 3001)


@pytest.mark.parametrize(
    ("twin", "field"),
    [({"id": 0}, "id"), ({"name": "comfyui-0"}, "name"), ({"port": 3001}, "port")],
)
async def test_duplicates_in_one_request_refuse_the_whole_request(
    twin: dict[str, object], field: str
) -> None:
    async with site_of() as site:
        status, answer = await site.ask("POST", START, several(one(0), {**one(1), **twin}))
        known = list(site.fleet)

    detail = answer["detail"]
    assert isinstance(detail, list)
    assert (status, answer["code"]) == (422, "invalid_request")
    assert [mistake["loc"] for mistake in detail] == [["body", "instances", 1, field]]
    assert detail[0]["type"] == "duplicate"
    assert known == []


async def test_a_default_name_or_port_counts_as_a_repetition() -> None:
    async with site_of() as site:
        bodies = [{"id": 0, "port": 3002}, {"id": 1, "name": "instance_0"}]
        status, answer = await site.ask("POST", START, several(*bodies))

    detail = answer["detail"]
    assert isinstance(detail, list)
    assert status == 422
    assert [mistake["loc"][-1] for mistake in detail] == ["name", "port"]


async def test_one_invalid_field_refuses_the_request_with_its_location() -> None:
    async with site_of() as site:
        status, answer = await site.ask("POST", START, several(one(0), one(1, port=0)))
        known = list(site.fleet)

    detail = answer["detail"]
    assert isinstance(detail, list)
    assert (status, detail[0]["loc"]) == (422, ["body", "instances", 1, "port"])
    assert detail[0].keys() == {"loc", "msg", "type"}
    assert known == []


async def test_a_default_port_above_65535_is_an_error() -> None:
    async with site_of() as site:
        status, answer = await site.ask("POST", START, several({"id": 70_000}))

    detail = answer["detail"]
    assert isinstance(detail, list)
    assert (status, detail[0]["loc"]) == (422, ["body", "instances", 0, "port"])


async def test_unknown_fields_are_named_and_not_refused() -> None:
    async with site_of() as site:
        answer = await site.post(START, several(one(gpus=1), enviroment="x"))

    assert answer["started_instances"] == 1
    assert answer["warnings"] == [
        "unknown field 'enviroment': did you mean 'environment'?",
        "unknown field 'gpus': did you mean 'gpu'?",
    ]


async def test_an_unknown_field_of_one_of_several_instances_names_that_instance() -> None:
    async with site_of() as site:
        answer = await site.post(f"{API}/start-instances", several(one(3), one(4, gpus=1)))

    assert answer["warnings"] == ["instance 4: unknown field 'gpus': did you mean 'gpu'?"]


async def test_the_comparison_of_unknown_fields_is_bounded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    compared: list[str] = []
    compare = difflib.get_close_matches

    def counted(word: str, *others: Any, **how: Any) -> list[str]:  # noqa: ANN401 - difflib's own
        compared.append(word)
        return compare(word, *others, **how)

    monkeypatch.setattr(difflib, "get_close_matches", counted)
    async with site_of() as site:
        answer = await site.post(START, several(one(), **{f"field{n}": n for n in range(20_000)}))

    warnings = answer["warnings"]
    assert isinstance(warnings, list)
    assert len(warnings) == 20
    assert len(compared) <= 40


async def test_a_caller_without_a_token_may_not_set_env() -> None:
    async with site_of() as site:
        answer = await site.refused("POST", START, several(one(0, env={"LD_PRELOAD": "/x.so"})))
        known = list(site.fleet)

    assert answer[:2] == (403, "forbidden")
    assert known == []


async def test_a_start_is_refused_during_the_shutdown() -> None:
    async with site_of() as site:
        site.fleet.close()
        answer = await site.post(START, several(one()))

    assert results(answer)[0]["code"] == "shutting_down"
