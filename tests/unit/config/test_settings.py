"""Environment variables: defaults, formats and errors."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comfysup.config.settings import Settings
from comfysup.config.variables import SettingsError, Token
from comfysup.model.spec import Policy
from tests.unit.config.settings import TOKEN, errors_of, read

SECONDS = 'must be a time above 0, at most a week, such as "90", "90s", "1.5m" or "2h"'
PORT = "must be a whole number from 1 to 65535"
SIZE = 'must be a size from 1 to 1024 GB such as "50 MB"'


def test_an_empty_environment_gives_the_documented_defaults() -> None:
    assert read() == Settings(
        autolaunch=False,
        environment="comm",
        base_port=3001,
        host="0.0.0.0",  # noqa: S104 - only compared
        port=8001,
        workspace=Path("/workspace"),
        instances_file=Path("/instances.json"),
        run_dir=Path("/run/comfysup"),
        log_dir=Path("/workspace/logs"),
        log_max_bytes=52_428_800,
        log_keep=5,
        shutdown_grace=8.0,
        policy=Policy(),
    )


def test_a_variable_that_is_empty_is_not_set() -> None:
    assert read(COMFYSUP_PORT="", COMFYSUP_TOKEN=" ", EXTRA_ARGS="") == read()


def test_every_variable_is_read() -> None:
    settings = read(
        DISABLE_AUTOLAUNCH="false",
        COMFYUI_ENVIRONMENT="aua-sp",
        COMFYUI_BASE_PORT="4000",
        EXTRA_ARGS="--lowvram 'a b'",
        COMFYSUP_HOST="::1",
        COMFYSUP_PORT="9001",
        COMFYSUP_WORKSPACE="/w",
        COMFYSUP_INSTANCES_FILE="/w/i.json",
        COMFYSUP_RUN_DIR="/r",
        COMFYSUP_LOG_MAX_BYTES="1kB",
        COMFYSUP_LOG_KEEP="0",
        COMFYSUP_TOKEN="all",
        COMFYSUP_READ_TOKEN="some",
        COMFYSUP_STARTUP_TIMEOUT="1",
        COMFYSUP_STOP_GRACE="2.5 s",
        COMFYSUP_SHUTDOWN_GRACE="3",
        COMFYSUP_BACKOFF_INITIAL="0.1",
        COMFYSUP_BACKOFF_MAX="5",
        COMFYSUP_MAX_FAILURES="6",
        COMFYSUP_STABLE_AFTER="7",
        COMFYSUP_PROBE_PERIOD="8",
        COMFYSUP_PROBE_TIMEOUT="9",
        COMFYSUP_PROBE_FAILURES="10",
    )

    assert settings == Settings(
        autolaunch=True,
        environment="aua-sp",
        base_port=4000,
        extra_args=("--lowvram", "a b"),
        host="::1",
        port=9001,
        workspace=Path("/w"),
        instances_file=Path("/w/i.json"),
        run_dir=Path("/r"),
        log_dir=Path("/w/logs"),
        log_max_bytes=1024,
        log_keep=0,
        token=Token.of("all"),
        read_token=Token.of("some"),
        shutdown_grace=3.0,
        policy=Policy(1, 2.5, 0.1, 5, 6, 7, 8, 9, 10),
    )


@pytest.mark.parametrize(
    ("uid", "runtime", "expected"),
    [
        (0, "/run/user/0", "/run/comfysup"),
        (1000, "/run/user/1000", "/run/user/1000/comfysup"),
        (1000, "", "/tmp/comfysup-1000"),  # noqa: S108 - only compared
        (1000, "run", "/tmp/comfysup-1000"),  # noqa: S108
    ],
)
def test_the_run_directory_depends_on_the_user(uid: int, runtime: str, expected: str) -> None:
    assert Settings.from_environ({"XDG_RUNTIME_DIR": runtime}, uid).run_dir == Path(expected)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("52428800", 52_428_800),
        ("50 MB", 52_428_800),
        ("50MiB", 52_428_800),
        ("50m", 52_428_800),
        ("64 kB", 65_536),
        ("1 GB", 1 << 30),
        ("7 B", 7),
    ],
)
def test_a_size_may_have_a_unit(text: str, size: int) -> None:
    assert read(COMFYSUP_LOG_MAX_BYTES=text).log_max_bytes == size


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 90),
        ("90s", 90),
        ("90 s", 90),
        ("1m", 60),
        ("1.5 min", 90),
        ("2H", 7_200),
        ("7d", 604_800),
        ("+0.5", 0.5),
    ],
)
def test_a_time_may_have_a_unit(text: str, seconds: float) -> None:
    settings = read(COMFYSUP_STOP_GRACE=text, COMFYSUP_SHUTDOWN_GRACE=text)

    assert (settings.policy.stop_grace, settings.shutdown_grace) == (seconds, seconds)


@pytest.mark.parametrize("text", ["true", "1", "YES", "on"])
def test_a_flag_accepts_the_usual_values(text: str) -> None:
    assert not read(DISABLE_AUTOLAUNCH=text).autolaunch


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("DISABLE_AUTOLAUNCH", "maybe", 'must be true or false, is "maybe"'),
        ("COMFYUI_BASE_PORT", "0", f'{PORT}, is "0"'),
        ("COMFYSUP_PORT", "8001.0", f'{PORT}, is "8001.0"'),
        ("COMFYSUP_PORT", "99999999999999999999", f'{PORT}, is "99999999999999999999"'),
        ("COMFYSUP_HOST", "a b", 'must be an address to listen on, is "a b"'),
        ("COMFYSUP_HOST", "a..b", 'must be an address to listen on, is "a..b"'),
        ("COMFYSUP_WORKSPACE", "w", 'must be an absolute path, is "w"'),
        ("COMFYSUP_LOG_MAX_BYTES", "0", f'{SIZE}, is "0"'),
        ("COMFYSUP_LOG_MAX_BYTES", "50 TB", f'{SIZE}, is "50 TB"'),
        ("COMFYSUP_LOG_KEEP", "101", 'must be a whole number from 0 to 100, is "101"'),
        ("COMFYSUP_STOP_GRACE", "nan", f'{SECONDS}, is "nan"'),
        ("COMFYSUP_STOP_GRACE", "inf", f'{SECONDS}, is "inf"'),
        ("COMFYSUP_SHUTDOWN_GRACE", "-1", f'{SECONDS}, is "-1"'),
        ("COMFYSUP_STOP_GRACE", "500ms", f'{SECONDS}, is "500ms"'),
        ("COMFYSUP_STOP_GRACE", "8d", f'{SECONDS}, is "8d"'),
        ("COMFYSUP_BODY_TIMEOUT", "0m", f'{SECONDS}, is "0m"'),
        ("COMFYSUP_MAX_FAILURES", "5 s", 'must be a whole number from 1 to 10000, is "5 s"'),
        ("COMFYSUP_MAX_FAILURES", "0", 'must be a whole number from 1 to 10000, is "0"'),
        ("EXTRA_ARGS", "'", 'cannot split "\'" into arguments: a quote is not closed'),
        ("COMFYSUP_TOKEN", "se cret", f"{TOKEN}, is a text of 7 characters"),
        ("COMFYSUP_TOKEN_FILE", "/none", "cannot be read: /none: No such file or directory"),
        ("COMFYSUP_TOKEN_FILE", "/", "cannot be read: /: Is a directory"),
    ],
)
def test_an_invalid_variable_is_reported_with_its_value_and_the_allowed_ones(
    name: str, value: str, text: str
) -> None:
    assert errors_of(**{name: value}) == [f"{name} {text}"]


def test_all_invalid_settings_are_reported_together() -> None:
    with pytest.raises(SettingsError) as caught:
        read(COMFYSUP_PORT="x", COMFYSUP_STOP_GRACE="x", COMFYSUP_PROBE_PERIOD="-1")

    assert str(caught.value) == (
        "cannot use the environment: 3 settings are wrong\n"
        f'  COMFYSUP_PORT {PORT}, is "x"\n'
        f'  COMFYSUP_STOP_GRACE {SECONDS}, is "x"\n'
        f'  COMFYSUP_PROBE_PERIOD {SECONDS}, is "-1"'
    )


def test_shown_settings_are_json_and_state_whether_a_token_is_set() -> None:
    shown = json.loads(json.dumps(read(COMFYSUP_TOKEN="hunter2").shown()))

    assert (shown["token"], shown["read_token"]) == (True, False)
    assert shown["run_dir"] == "/run/comfysup"
    assert shown["policy"]["restart"] == "always"


@given(
    st.dictionaries(
        st.sampled_from(
            [
                "COMFYSUP_HOST",
                "COMFYSUP_LOG_DIR",
                "COMFYSUP_LOG_MAX_BYTES",
                "COMFYSUP_PORT",
                "COMFYSUP_STOP_GRACE",
                "COMFYUI_ENVIRONMENT",
                "DISABLE_AUTOLAUNCH",
                "EXTRA_ARGS",
            ]
        ),
        st.text(st.characters(exclude_characters="\0")),
    )
)
def test_any_environment_gives_settings_or_a_settings_error(
    environ: dict[str, str],
) -> None:
    try:
        texts: tuple[str, ...] = (Settings.from_environ(environ, uid=0).environment,)
    except SettingsError as error:
        texts = error.mistakes

    assert texts
    assert all(text.isprintable() for text in texts)
