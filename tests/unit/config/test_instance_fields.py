"""The fields of an instance: accepted values, their conversion, and error texts."""

import dataclasses
import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from comfysup.config.field_errors import problems
from comfysup.config.instance_fields import (
    Defaults,
    InstanceFields,
    PolicyFields,
    SpecError,
    unknown_fields,
)
from comfysup.model.spec import InstanceSpec, Policy, Restart
from tests.unit.config.fields import field_errors, read

NAME = (
    "must be 1 to 64 printable characters without '/', not all digits and without spaces around it"
)
ENVIRONMENT = (
    "must be 1 to 64 letters (a-z), digits, '.', '_' or '-', beginning with a letter or digit"
)
SECONDS = "must be a number of seconds above 0, at most 604800"
UUID = "GPU-8932f937-d72c-4106-c12f-20bd9faed9f6"
GPU = (
    'must be a GPU number up to 255, different ones as in "0,1", uuids such as "GPU-…" or "MIG-…", '
    'or "auto"'
)
VARIABLE = "must be 1 to 128 letters (a-z), digits or '_', not beginning with a digit"
ARGUMENTS = "must be at most 256 arguments of 30000 characters together"
OWN = "cannot set COMFYSUP_X: names in COMFYSUP_ are comfysup's own"
DESCRIPTION = "must be text of at most 1000 characters without control characters"

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)


def test_the_instances_of_the_spec_are_read() -> None:
    fields = InstanceFields.model_validate(
        {
            "id": 1,
            "port": 3005,
            "name": "comfyui-backup",
            "extra_args": "--lowvram",
            "enabled": True,
        }
    )

    assert fields.to_spec(Defaults()) == InstanceSpec(
        id=1, name="comfyui-backup", environment="comm", port=3005, extra_args=("--lowvram",)
    )


def test_an_id_is_the_only_required_field() -> None:
    assert read(id=4).to_spec(Defaults()) == InstanceSpec(
        id=4, name="instance_4", environment="comm", port=3005
    )


@pytest.mark.parametrize("field", sorted(set(InstanceFields.model_fields) - {"id"}))
def test_null_equals_a_missing_field(field: str) -> None:
    assert read(**{field: None}) == read()


@pytest.mark.parametrize(
    ("field", "value", "text"),
    [
        ("id", -1, "must be a whole number from 0 to 999999, is -1"),
        ("id", True, "must be a whole number from 0 to 999999, is true"),
        ("id", None, "must be a whole number from 0 to 999999, is null"),
        ("port", 0, "must be a whole number from 1 to 65535, is 0"),
        ("port", 65_536, "must be a whole number from 1 to 65535, is 65536"),
        ("port", True, "must be a whole number from 1 to 65535, is true"),
        ("port", 3001.5, "must be a whole number from 1 to 65535, is 3001.5"),
        ("port", "https", 'must be a whole number from 1 to 65535, is "https"'),
        ("port", [3001], "must be a whole number from 1 to 65535, is a list"),
        ("name", "", f'{NAME}, is ""'),
        ("name", "a/b", f'{NAME}, is "a/b"'),
        ("name", "42", f'{NAME}, is "42"'),
        ("name", "٤٢", f'{NAME}, is "٤٢"'),
        ("name", "..", f'{NAME}, is ".."'),
        ("name", " main", f'{NAME}, is " main"'),
        ("name", "a\x1b[2J", f'{NAME}, is "a\\u001b[2J"'),
        ("name", "a\u202eb", f'{NAME}, is "a\\u202eb"'),
        ("name", "n" * 65, f'{NAME}, is "{"n" * 60}…"'),
        ("name", 7, f"{NAME}, is 7"),
        ("description", "\x07", f'{DESCRIPTION}, is "\\u0007"'),
        ("description", "d" * 1001, f'{DESCRIPTION}, is "{"d" * 60}…"'),
        ("extra_args", 5, "must be text or a list of texts, is 5"),
        ("extra_args", "a 'b", "cannot split \"a 'b\" into arguments: a quote is not closed"),
        ("extra_args", "a\\", 'cannot split "a\\\\" into arguments: ends in a backslash'),
        ("extra_args", "a " * 257, f"{ARGUMENTS}, is 257 of 257"),
        ("extra_args", ["x" * 30_001], f"{ARGUMENTS}, is 1 of 30001"),
        ("extra_args", "x" * 60_001, "must be at most 60000 characters, is 60001 long"),
        ("enabled", "maybe", 'must be true or false, is "maybe"'),
        ("enabled", 2, "must be true or false, is 2"),
        ("environment", "../x", f'{ENVIRONMENT}, is "../x"'),
        ("environment", "a;b", f'{ENVIRONMENT}, is "a;b"'),
        ("environment", "$(id)", f'{ENVIRONMENT}, is "$(id)"'),
        ("environment", "", f'{ENVIRONMENT}, is ""'),
        ("environment", "comm\n", f'{ENVIRONMENT}, is "comm\\n"'),
        ("environment", "e" * 10_000, f'{ENVIRONMENT}, is "{"e" * 60}…"'),
        ("gpu", -1, f"{GPU}, is -1"),
        ("gpu", True, f"{GPU}, is true"),
        ("gpu", "0,0", f'{GPU}, is "0,0"'),
        ("gpu", "", f'{GPU}, is ""'),
        ("gpu", 256, f"{GPU}, is 256"),
        ("gpu", "GPU-", f'{GPU}, is "GPU-"'),
        ("gpu", "GPU-1,GPU-1", f'{GPU}, is "GPU-1,GPU-1"'),
        ("gpu", "0,GPU-1", f'{GPU}, is "0,GPU-1"'),
        ("gpu", "GPU-1;id", f'{GPU}, is "GPU-1;id"'),
        ("env", ["A=1"], "must be an object of names and texts, is a list"),
        ("env", {f"V{i}": "" for i in range(257)}, "must be at most 256 variables, is 257"),
        ("stop_grace", 0, f"{SECONDS}, is 0"),
        ("stop_grace", math.nan, f"{SECONDS}, is NaN"),
        ("stop_grace", math.inf, f"{SECONDS}, is Infinity"),
        ("stop_grace", 10**400, f"{SECONDS}, is a huge number"),
        ("stop_grace", True, f"{SECONDS}, is true"),
        ("probe_failures", 0, "must be a whole number from 1 to 10000, is 0"),
        ("restart", "sometimes", 'must be always, on-failure or never, is "sometimes"'),
    ],
)  # fmt: skip
def test_an_invalid_value_is_reported_with_the_allowed_ones(
    field: str, value: object, text: str
) -> None:
    assert field_errors({"id": 0, field: value}) == [(field, text)]


@pytest.mark.parametrize("word", ["--cuda-device", "--cuda-device=1", "--cuda-dev"])
def test_cuda_device_and_gpu_exclude_each_other(word: str) -> None:
    assert read(extra_args=[word, "1"]).gpu is None
    assert field_errors({"id": 0, "extra_args": [word, "1"], "gpu": 0}) == [
        ("gpu", f"cannot use gpu \"0\" together with '{word}' in extra_args")
    ]


@pytest.mark.parametrize("name", ["CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES"])
def test_a_variable_that_gpu_sets_and_gpu_exclude_each_other(name: str) -> None:
    assert read(env={name: "1"}).env == {name: "1"}
    assert field_errors({"id": 0, "env": {name: "1"}, "gpu": 0}) == [
        ("env", f"cannot set {name} together with gpu, which sets it: leave one out")
    ]


def test_cuda_device_from_the_defaults_and_gpu_exclude_each_other() -> None:
    with pytest.raises(SpecError, match=r"cannot use gpu .* EXTRA_ARGS or default_extra_args") as e:
        read(gpu=0).to_spec(Defaults(extra_args=("--cuda-device", "1")))

    assert e.value.where == "gpu"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        *((0, "0"), ("0,1", "0,1"), ("0, 1", "0,1"), ("007", "7"), ("auto", "auto"), (None, None)),
        (UUID, UUID),
        (f"{UUID}, GPU-1", f"{UUID},GPU-1"),
        (f"MIG-{UUID[4:]}", f"MIG-{UUID[4:]}"),
        (f"MIG-{UUID}/1/0", f"MIG-{UUID}/1/0"),
    ],
)
def test_a_gpu_is_converted_to_the_form_of_cuda(value: object, text: str | None) -> None:
    assert read(gpu=value).gpu == text


@pytest.mark.parametrize("name", ["main", "häuptling", "主要", "بحث", "a b", "😀", "x" * 64, "1a"])
def test_a_name_may_be_in_any_script(name: str) -> None:
    assert read(name=name).to_spec(Defaults()).name == name


@given(st.text(max_size=70))
def test_an_accepted_name_is_one_path_segment_and_no_id(name: str) -> None:
    try:
        accepted = read(name=name).name
    except ValidationError:
        return

    assert accepted == name
    assert "/" not in name
    assert not name.isdigit()
    assert name.isprintable()
    assert 1 <= len(name) <= 64


@given(st.dictionaries(st.sampled_from(sorted(InstanceFields.model_fields)), json_values))
def test_any_json_value_gives_fields_or_a_validation_error(
    given: dict[str, object],
) -> None:
    try:
        texts = [repr(InstanceFields.model_validate(given))]
    except ValidationError as error:
        texts = [each.text for each in problems(error)]

    assert texts
    assert all(text.isprintable() for text in texts)


@pytest.mark.parametrize(
    ("field", "text", "value"),
    [
        ("id", "7", 7),
        ("id", 7.0, 7),
        ("port", "3001", 3001),
        ("port", " 3001 ", 3001),
        ("enabled", "false", False),
        ("enabled", 1, True),
        ("stop_grace", "2.5", 2.5),
        ("max_failures", "3", 3),
    ],
)
def test_a_number_as_text_is_accepted_over_http_and_not_in_a_file(
    field: str, text: object, value: object
) -> None:
    assert getattr(read(**{field: text}), field) == value
    assert [where for where, _ in field_errors({"id": 0, field: text}, strict=True)] == [field]


def test_a_number_too_long_for_python_to_print_is_reported() -> None:
    text = "must be a whole number from 0 to 999999, is a huge number"

    assert field_errors({"id": 10**5000}) == [("id", text)]


def test_a_missing_id_is_reported_as_by_fastapi() -> None:
    with pytest.raises(ValidationError) as caught:
        InstanceFields.model_validate({})

    (each,) = problems(caught.value)
    assert (each.loc, each.text, each.type) == (("id",), "Field required", "missing")


def test_all_errors_of_an_instance_are_reported_together() -> None:
    wrong = {"id": -1, "port": 0, "name": "/", "extra_args": ["--port", 5], "env": {"A": 1}}

    assert [where for where, _ in field_errors(wrong)] == [
        "id",
        "port",
        "name",
        "extra_args.0",
        "extra_args.1",
        "env.A",
    ]


@pytest.mark.parametrize(
    ("env", "where", "text"),
    [
        ({"A-B": "x"}, "env.A-B", f'{VARIABLE}, is "A-B"'),
        ({"1A": "x"}, "env.1A", f'{VARIABLE}, is "1A"'),
        ({"": "x"}, "env.", f'{VARIABLE}, is ""'),
        ({"A=B": "x"}, "env.A=B", f'{VARIABLE}, is "A=B"'),
        ({"COMFYSUP_X": "x"}, "env.COMFYSUP_X", OWN),
        ({"A": 1234}, "env.A", "must be text, is a number"),
        ({"A": True}, "env.A", "must be text, is true or false"),
        ({"A": "a\0b"}, "env.A", "must not contain NUL or an unpaired surrogate"),
        ({"A": "a" * 30_001}, "env.A", "must be at most 30000 characters, is 30001 long"),
    ],
)  # fmt: skip
def test_a_variable_has_a_name_and_a_text(env: dict[str, object], where: str, text: str) -> None:
    assert field_errors({"id": 0, "env": env}) == [(where, text)]


@pytest.mark.parametrize("env", [{"KEY": "hunter2"}, {"KEY": "hunter2\0"}, "hunter2"])
def test_no_repr_and_no_error_contains_a_value_of_env(env: object) -> None:
    try:
        fields = read(env=env)
        seen = f"{fields!r} {fields} {fields.to_spec(Defaults())!r}"
    except ValidationError as error:
        seen = f"{error} {error!r} {problems(error)}"

    assert "hunter2" not in seen


def test_the_order_of_env_makes_no_other_spec() -> None:
    one, other = read(env={"A": "1", "B": "2"}), read(env={"B": "2", "A": "1"})

    assert one.to_spec(Defaults()) == other.to_spec(Defaults())


def test_the_policy_of_an_instance_precedes_the_global_one_and_the_environment() -> None:
    environment = Policy(stop_grace=1, backoff_max=1, max_failures=1)
    common = PolicyFields(stop_grace=2, backoff_max=2).over(environment)

    spec = read(stop_grace=3, restart="never").to_spec(Defaults(policy=common))

    expected = dataclasses.replace(
        environment, stop_grace=3.0, backoff_max=2.0, restart=Restart.NEVER
    )
    assert spec.policy == expected


def test_the_fields_of_the_policy_are_those_of_the_domain() -> None:
    assert list(PolicyFields.model_fields) == [each.name for each in dataclasses.fields(Policy)]


def test_default_arguments_precede_those_of_the_instance() -> None:
    defaults = Defaults("aua-sp", 4000, ("--lowvram",))

    spec = read(id=2, extra_args="--fast").to_spec(defaults)

    assert (spec.environment, spec.port) == ("aua-sp", 4002)
    assert spec.extra_args == ("--lowvram", "--fast")


def test_a_default_port_beyond_the_last_is_refused() -> None:
    text = "port must be given: the base port 3001 . id 70000 is above 65535"
    with pytest.raises(SpecError, match=text):
        read(id=70_000).to_spec(Defaults())


@pytest.mark.parametrize(
    ("key", "warning"),
    [
        ("gpus", "unknown field 'gpus': did you mean 'gpu'?"),
        ("extraArgs", "unknown field 'extraArgs': did you mean 'extra_args'?"),
        ("zzz", "unknown field 'zzz'"),
        ("\x1b", "unknown field '\\x1b'"),
    ],
)
def test_an_unknown_field_is_named_with_the_nearest_known_one(key: str, warning: str) -> None:
    assert unknown_fields({"id": 0, key: 1}) == [warning]
    assert read(**{key: 1}) == read()


def test_the_json_schema_is_generated() -> None:
    schema = json.loads(json.dumps(InstanceFields.model_json_schema()))

    assert schema["required"] == ["id"]
    assert schema["properties"]["port"]["maximum"] == 65_535
