"""Errors in an instances file: their texts, their positions and what they affect."""

# ruff: noqa: E501 - a row of a table of mistakes is one line: what stands there, and what is told

import os
from pathlib import Path

import pytest

from comfysup.config.instance_fields import PolicyFields
from comfysup.config.instances_file import read_instances_file
from comfysup.config.settings import Settings
from tests.unit.config.reading import error_texts, ids, instances, read

NAME = (
    "must be 1 to 64 printable characters without '/', not all digits and without spaces around it"
)
INSTANCE_KEYS = (
    "startup_timeout, stop_grace, backoff_initial, backoff_max, max_failures, stable_after, "
    "probe_period, probe_timeout, probe_failures, restart, rescue, id, port, name, description, "
    "extra_args, enabled, environment, gpu, env"
)


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ('{"id": 1, "port": 0}', "line 3, instances[1].port: must be a whole number from 1 to 65535, is 0"),
        ('{"id": 1, "port": "3"}', 'line 3, instances[1].port: must be a whole number from 1 to 65535, is "3"'),
        ('{"id": 1, "port": 8001}', "line 3, instances[1].port: must not be 8001: comfysup itself listens there (COMFYSUP_PORT)"),
        ('{"id": 5000}', "line 3, instances[1]: must not be 8001: comfysup itself listens there (COMFYSUP_PORT)"),
        ('{"id": 70000}', "line 3, instances[1]: port must be given: the base port 3001 + id 70000 is above 65535"),
        ('{"name": "x"}', "line 3, instances[1]: field 'id' is missing"),
        ('{"id": 1, "name": "1"}', f'line 3, instances[1].name: {NAME}, is "1"'),
        ('{"id": 1, "gpus": 0}', "line 3, instances[1].gpus: unknown key 'gpus': did you mean 'gpu'?"),
        ('{"id": 1, "zzz": 0}', f"line 3, instances[1].zzz: unknown key 'zzz': must be one of {INSTANCE_KEYS}"),
        ('{"id": 1,\n"id": 2}', "line 4, instances[1].id: key 'id' stands twice: already on line 3"),
        ('{"id": 1, "env": {"A": "x", "A": "y"}}', "line 3, instances[1].env.A: key 'A' stands twice: already on line 3"),
        ('{"id": 1, "env": {"A-B": "x"}}', "line 3, instances[1].env[\"A-B\"]: must be 1 to 128 letters (a-z), digits or '_', not beginning with a digit, is \"A-B\""),
        ('{"id": 1, "enabled": "true"}', 'line 3, instances[1].enabled: must be true or false, is "true"'),
        ('{"id": 1, "stop_grace": 1e999}', "line 3, instances[1].stop_grace: must be a number of seconds above 0, at most 604800, is Infinity"),
        ('{"id": 1, "extra_args": [\n"--fast",\n"--port"]}', "line 5, instances[1].extra_args[1]: cannot pass '--port': comfysup sets --port itself"),
        ('{"id": 1, "extra_args": "--fast --port 3"}', "line 3, instances[1].extra_args: cannot pass '--port': comfysup sets --port itself"),
        ('{"id": 0}', "line 3, instances[1].id: id must be unique, is 0 as that of instances[0] (line 2)"),
        ('{"id": 1, "name": "instance_0"}', 'line 3, instances[1].name: name must be unique, is "instance_0" as that of instances[0] (line 2)'),
        ('{"id": 1, "port": 3001}', "line 3, instances[1].port: port must be unique, is 3001 as that of instances[0] (line 2)"),
        (f'{{"id": 1, "{"x" * 99}": 0}}', f"""line 3, instances[1]["{"x" * 60}…"]: unknown key '{"x" * 60}…': must be one of {INSTANCE_KEYS}"""),
        ("7", "line 3, instances[1]: must be an object, is 7"),
        ("null", "line 3, instances[1]: must be an object, is null"),
    ],
)  # fmt: skip
def test_an_invalid_entry_is_reported_with_its_position_and_affects_no_other(
    line: str, text: str
) -> None:
    file = instances('{"id": 0}', line, '{"id": 9}')

    assert text in error_texts(file)
    assert ids(file) == [0, 9]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[]", "line 1, column 1: must be an object, is an empty list"),
        ("{}", "line 1, column 1: instances must be a list, is missing"),
        ('{"instances": {}}', "line 1, instances: instances must be a list, is an object"),
        ('{"instances": [], "environments": "x"}', "line 1, environments: unknown key 'environments': did you mean 'environment'?"),
        ('{"instances": [],\n"global_settings": []}', "line 2, global_settings: must be an object, is an empty list"),
        ('{"instances": [], "global_settings": {"startup_delay": -1}}', "line 1, global_settings.startup_delay: must be a number of seconds from 0, at most 604800, is -1"),
        ('{"instances": [], "global_settings": {"log_directory": "logs"}}', 'line 1, global_settings.log_directory: must be an absolute path, is "logs"'),
        ('{"instances": [], "global_settings": {"log_dir": "/"}}', "line 1, global_settings.log_dir: unknown key 'log_dir': did you mean 'log_directory'?"),
    ],
)  # fmt: skip
def test_an_error_outside_the_instances_is_reported(text: str, expected: str) -> None:
    assert error_texts(read(text)) == [expected]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "line 1, column 1: expected a value, found the end of the file"),
        ('{"a": 1\n"b": 2}', "line 2, column 1: expected ',' or '}', found '\"'"),
        ("{'a': 1}", "line 1, column 2: expected a key in double quotes or '}', found '''"),
        ('{"a" 1}', "line 1, column 6: expected ':', found '1'"),
        ('{"a": True}', "line 1, column 7: expected a value, found 'True'"),
        ('{"a": s3cret}', "line 1, column 7: expected a value, found 's'"),
        ('{"a": NaN}', "line 1, column 7: cannot read this number: JSON has no NaN"),
        ('{"a": 01}', "line 1, column 8: expected ',' or '}', found '1'"),
        ("[1, 2", "line 1, column 6: expected ',' or ']', found the end of the file"),
        ("[1 /* x", "line 1, column 4: a comment is not closed"),
        ('["a\nb"]', "line 1, column 4: invalid control character"),
        ('["a', "line 1, column 2: unterminated string"),
        ("{} {}", "line 1, column 4: expected the end of the file, found '{'"),
        ("[" * 10_000, "line 1, column 34: nested deeper than 32 levels"),
        ('{"a":' * 10_000, "line 1, column 166: nested deeper than 32 levels"),
    ],
)
def test_invalid_json_is_one_error_with_line_and_column(text: str, expected: str) -> None:
    file = read(text)

    assert error_texts(file) == [expected]
    assert file.entries == ()


def test_errors_are_reported_in_the_order_of_the_file() -> None:
    file = read("""{
      "instances": [
        {"id": 0, "gpu": -1},
        {"id": 0, "gpus": 1, "port": true},
        {"id": 2}
      ],
      "global_settings": {"stop_grace": 0},
      "x": 1,
      "x": 2
    }""")

    assert [(mistake.line, mistake.place) for mistake in file.mistakes] == [
        (3, "instances[0].gpu"),
        (4, "instances[1].id"),
        (4, "instances[1].gpus"),
        (4, "instances[1].port"),
        (7, "global_settings.stop_grace"),
        (8, "x"),
        (9, "x"),
    ]
    assert ids(file) == [2]


def test_a_repeated_id_is_reported_once() -> None:
    file = instances('{"id": 0}', '{"id": 0}')

    assert error_texts(file) == [
        "line 3, instances[1].id: id must be unique, is 0 as that of instances[0] (line 2)"
    ]


def test_an_invalid_environment_is_not_replaced_by_another_one() -> None:
    file = read('{"environment": "../x", "instances": [{"id": 0}, {"id": 1, "environment": "y"}]}')

    assert [mistake.place for mistake in file.mistakes] == ["environment"]
    assert ids(file) == [1]


def test_invalid_default_arguments_prevent_the_start() -> None:
    file = read(
        '{"instances": [{"id": 0}], "global_settings": {"default_extra_args": "--listen x"}}'
    )

    assert [mistake.place for mistake in file.mistakes] == ["global_settings.default_extra_args"]
    assert ids(file) == []


def test_an_invalid_global_setting_affects_no_other_setting() -> None:
    file = read(
        '{"instances": [{"id": 0}],'
        ' "global_settings": {"stop_grace": 0, "max_failures": 2, "startup_delay": 3}}'
    )

    assert len(file.mistakes) == 1
    assert file.startup_delay == 3.0
    assert file.specs[0].policy == PolicyFields(max_failures=2).over(Settings().policy)


def test_gpu_and_a_default_cuda_device_exclude_each_other() -> None:
    file = read(
        '{"instances": [{"id": 0, "gpu": 0}, {"id": 1}],'
        '"global_settings": {"default_extra_args": "--cuda-device 1"}}'
    )

    assert [mistake.place for mistake in file.mistakes] == ["instances[0].gpu"]
    assert ids(file) == [1]


def test_a_disabled_instance_may_have_the_port_of_another() -> None:
    file = instances('{"id": 0, "port": 3001, "enabled": false}', '{"id": 1, "port": 3001}')

    assert error_texts(file) == []
    assert ids(file) == [1]


def test_no_error_contains_a_value_of_env() -> None:
    file = instances(
        '{"id": 0, "env": {"A": ["hunter2"], "B": "hunter2\\u0000", "A": "hunter2"}, "x": "hunter2"}'
    )

    assert len(file.mistakes) == 4
    assert "hunter2" not in repr(file)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b'{"a":\n "\xff"}', "line 2, column 3: must be UTF-8, has 0xff"),
        (b" " * (8 << 20) + b"{}", "cannot read {path}: it is larger than 8 MB"),
    ],
    ids=["not utf-8", "too large"],
)
def test_an_unusable_file_is_reported(tmp_path: Path, content: bytes, expected: str) -> None:
    path = tmp_path / "instances.json"
    path.write_bytes(content)

    assert error_texts(read_instances_file(path, Settings())) == [expected.format(path=path)]


def test_a_directory_a_pipe_and_an_invalid_path_are_reported(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to("loop")
    reasons = {
        tmp_path: "it is a directory (docker makes one where the file to mount is missing)",
        tmp_path / "pipe": "it is not a file",
        tmp_path / "file" / "x": "Not a directory",
        tmp_path / "loop": "Too many levels of symbolic links",
    }

    for path, reason in reasons.items():
        file = read_instances_file(path, Settings())

        assert error_texts(file) == [f"cannot read {path}: {reason}"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_a_file_without_read_permission_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "instances.json"
    path.touch(mode=0)

    assert error_texts(read_instances_file(path, Settings())) == [
        f"cannot read {path}: Permission denied"
    ]
