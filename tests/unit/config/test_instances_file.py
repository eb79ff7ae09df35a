"""instances.json: its format, and the entries that it yields."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comfysup.config.instances_file import InstancesFile, parse_instances, read_instances_file
from comfysup.config.settings import Settings
from comfysup.model.spec import InstanceSpec
from tests.counting import calls_of
from tests.unit.config.reading import error_texts, ids, instances, read

SPEC_EXAMPLE = """\
{
  "environment": "comm",     // Environment type: "comm" or "aua-sp"
  "instances": [
    {
      "id": 0,               // Unique instance ID
      "port": 3001,          // Port for this instance
      "name": "main",        // Human-readable name
      "extra_args": "",      // Additional ComfyUI arguments
      "enabled": true        // Whether to start this instance
    }
  ]
}
"""


def test_the_documented_example_is_read_without_errors() -> None:
    file = read(SPEC_EXAMPLE)

    assert error_texts(file) == []
    assert file.specs == (InstanceSpec(id=0, name="main", environment="comm", port=3001),)


def test_comments_trailing_commas_and_a_bom_are_accepted(tmp_path: Path) -> None:
    path = tmp_path / "instances.json"
    path.write_bytes(
        b'\xef\xbb\xbf/* a "comment" ] */ {"instances": [ // {\r\n'
        b'{"id": 0, "description": "// none, /* none */", /**/ "extra_args": ["a",],},\r\n], }//'
    )

    file = read_instances_file(path, Settings())

    assert error_texts(file) == []
    assert file.specs[0].description == "// none, /* none */"


def test_a_missing_file_has_no_instances_and_no_errors(tmp_path: Path) -> None:
    file = read_instances_file(tmp_path / "none", Settings())

    assert file == InstancesFile(Settings().defaults, legible=False)


def test_the_file_overrides_the_settings() -> None:
    settings = Settings.from_environ(
        {"EXTRA_ARGS": "--a", "COMFYUI_ENVIRONMENT": "x", "COMFYSUP_STOP_GRACE": "1"}, uid=0
    )
    text = """{"environment": "y", "instances": [
        {"id": 0, "extra_args": "--c", "stop_grace": 3}, {"id": 1, "environment": "z"}],
        "global_settings": {"default_extra_args": "--b", "stop_grace": 2, "startup_delay": 0.5,
        "log_directory": "/l", "pid_directory": "/p"}}"""

    file = read(text, settings)

    assert error_texts(file) == []
    assert [spec.environment for spec in file.specs] == ["y", "z"]
    assert [spec.extra_args for spec in file.specs] == [("--a", "--b", "--c"), ("--a", "--b")]
    assert [spec.policy.stop_grace for spec in file.specs] == [3.0, 2.0]
    assert file.startup_delay == 0.5
    assert (file.log_directory, file.pid_directory) == (Path("/l"), Path("/p"))


def test_a_disabled_instance_is_found_and_not_started() -> None:
    file = instances('{"id": 3, "name": "spare", "enabled": false}', '{"id": 1}')

    assert ids(file) == [1]
    assert file.find("spare") == file.find("3") == file.entries[0]
    assert file.entries[0].line == 2
    assert file.find("instance_1") == file.entries[1]
    assert file.find("7") is file.find("x") is file.find("9" * 5000) is None


def test_a_file_replaced_during_the_read_is_read_completely(tmp_path: Path) -> None:
    path = tmp_path / "instances.json"
    texts = [json.dumps({"instances": [{"id": i} for i in range(count)]}) for count in (1, 50)]
    for turn in range(200):
        fresh = tmp_path / "fresh"
        fresh.write_text(texts[turn % 2])
        fresh.replace(path)

        file = read_instances_file(path, Settings())

        assert error_texts(file) == []
        assert len(file.specs) in {1, 50}


def test_the_work_of_reading_grows_with_the_instances_and_no_faster() -> None:
    def text(count: int) -> str:
        entries = [
            {"id": i, "port": 10_000 + i, "name": f"n{i}", "extra_args": "--lowvram --fast 'a b'"}
            for i in range(count)
        ]
        return json.dumps({"instances": entries}, indent=2)

    read(text(1))  # what is done once
    few, many = text(100), text(1000)
    of_few, of_many = calls_of(lambda: read(few)), calls_of(lambda: read(many))

    assert len(read(many).specs) == 1000
    assert of_many < 11 * of_few


@given(st.text(st.sampled_from('{}[]",:/* \n\\ab01-.eE')) | st.text())
def test_random_text_raises_no_exception(text: str) -> None:
    assert read(f'{{"instances": [{text}]}}') is not None


# ---- whose entries are wrong, as far as that can be told


@pytest.mark.parametrize(
    ("instances", "mistaken"),
    [
        ([{"id": 0}], set()),
        ([{"id": 0}, {"id": 1, "port": "x"}], {1}),
        ([{"id": 0, "gpuu": 1}, {"id": 1}], {0}),
        ([{"id": 0}, {"id": 1, "port": 3001}], {1}),
        ([{"id": 0}, {"id": 1, "enabled": "maybe"}], {1}),
        ([{"id": 0}, {"port": 4000}], {None}),
        ([{"id": 0}, {"Id": 1}], {None}),
        ([{"id": 0}, {"id": "1"}], {None}),
        ([{"id": 0}, 4], {None}),
        ([{"id": 0}, {"id": 0, "name": "copy", "port": 4000}], {None}),
        ([{"id": 2, "environment": "../x"}, {"id": 3, "gpuu": 1}, 4], {2, 3, None}),
    ],
)
def test_invalid_entries_are_identified_by_id_if_possible(
    instances: list[object], mistaken: set[int | None]
) -> None:
    file = parse_instances(json.dumps({"instances": instances}), Settings())

    assert file.mistaken == mistaken
    assert file.legible


def test_an_invalid_default_invalidates_the_entries_that_use_it() -> None:
    text = '{"environment": "../x", "instances": [{"id": 0}, {"id": 1, "environment": "comm"}]}'

    file = parse_instances(text, Settings())

    assert file.mistaken == {0}
    assert [entry.spec.id for entry in file.entries] == [1]


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "4", "{}", '{"instances": {}}', '{"instances": 1}']
)
def test_a_file_without_a_list_of_instances_is_unusable(text: str) -> None:
    file = parse_instances(text, Settings())

    assert not file.legible
    assert file.mistakes
