"""Environment variables: the defaults, every mistake at once, and no token anywhere."""

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comfysup.app.last_settings import instead_of, last_good, remember
from comfysup.config.settings import Settings
from comfysup.config.variables import SettingsError, Token
from comfysup.linux.host.boot_identity import BootIdentity
from comfysup.linux.rundir.state_file import StateFile
from comfysup.model.spec import Policy

SECONDS = 'must be a time above 0, at most a week, such as "90", "90s", "1.5m" or "2h"'
PORT = "must be a whole number from 1 to 65535"
SIZE = 'must be a size from 1 to 1024 GB such as "50 MB"'
TOKEN = "must be 1 to 4096 visible ASCII characters without spaces"


def read(**environ: str) -> Settings:
    return Settings.from_environ(environ, uid=0)


def mistakes(**environ: str) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        read(**environ)
    return list(caught.value.mistakes)


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
def test_a_flag_has_the_usual_words(text: str) -> None:
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
    assert mistakes(**{name: value}) == [f"{name} {text}"]


def test_all_invalid_settings_are_reported_together() -> None:
    with pytest.raises(SettingsError) as caught:
        read(COMFYSUP_PORT="x", COMFYSUP_STOP_GRACE="x", COMFYSUP_PROBE_PERIOD="-1")

    assert str(caught.value) == (
        "cannot use the environment: 3 settings are wrong\n"
        f'  COMFYSUP_PORT {PORT}, is "x"\n'
        f'  COMFYSUP_STOP_GRACE {SECONDS}, is "x"\n'
        f'  COMFYSUP_PROBE_PERIOD {SECONDS}, is "-1"'
    )


def test_a_token_may_come_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("hunter2\n")

    assert read(COMFYSUP_TOKEN_FILE=str(file)).token == Token.of("hunter2")
    assert read(COMFYSUP_READ_TOKEN_FILE=str(file)).read_token == Token.of("hunter2")


@pytest.mark.parametrize(
    "content", ["", "\n", "hunter 2", "hunter2\nhunter3", "hünter", "x" * 9999]
)
def test_a_file_without_a_token_is_refused_and_not_shown(tmp_path: Path, content: str) -> None:
    file = tmp_path / "token"
    file.write_text(content)

    (text,) = mistakes(COMFYSUP_TOKEN_FILE=str(file))

    assert TOKEN in text
    assert "nter" not in text


def test_a_token_file_that_is_a_pipe_without_data_is_an_error_at_once(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    (no_writer,) = mistakes(COMFYSUP_TOKEN_FILE=str(pipe))
    end = os.open(pipe, os.O_RDWR)
    try:
        (no_data,) = mistakes(COMFYSUP_TOKEN_FILE=str(pipe))
        os.write(end, b"hunter2\n")
        found = read(COMFYSUP_TOKEN_FILE=str(pipe)).token
    finally:
        os.close(end)

    assert TOKEN in no_writer
    assert no_data.endswith("Resource temporarily unavailable")
    assert found == Token.of("hunter2")


def test_a_token_is_set_in_one_way(tmp_path: Path) -> None:
    both = "COMFYSUP_TOKEN and COMFYSUP_TOKEN_FILE are both set: remove one"

    assert mistakes(COMFYSUP_TOKEN="a", COMFYSUP_TOKEN_FILE=str(tmp_path)) == [both]


def test_the_two_tokens_differ() -> None:
    same = "COMFYSUP_READ_TOKEN must differ from COMFYSUP_TOKEN, is the same"

    assert mistakes(COMFYSUP_TOKEN="a", COMFYSUP_READ_TOKEN="a") == [same]


@pytest.mark.parametrize("token", ["hunter2", "hunter2 with spaces", "hunter2\x07"])
def test_a_token_is_nowhere_to_be_seen(token: str) -> None:
    try:
        settings = read(COMFYSUP_TOKEN=token, COMFYSUP_READ_TOKEN="other")
        seen = f"{settings!r} {settings.shown()}"
    except SettingsError as error:
        seen = f"{error} {error!r}"

    assert "hunter2" not in seen


def test_shown_settings_are_json_and_state_whether_a_token_is_set() -> None:
    shown = json.loads(json.dumps(read(COMFYSUP_TOKEN="hunter2").shown()))

    assert (shown["token"], shown["read_token"]) == (True, False)
    assert shown["run_dir"] == "/run/comfysup"
    assert shown["policy"]["restart"] == "always"


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("COMFYSUP_TOKN", "COMFYSUP_TOKEN"),
        ("COMFYSUP_STOPGRACE", "COMFYSUP_STOP_GRACE"),
        ("COMFYSUP_API_PORT", "COMFYSUP_PORT"),
    ],
)
def test_a_variable_that_looks_misspelt_is_named(name: str, meant: str) -> None:
    assert read(**{name: "1"}).warnings == (f"unknown variable {name}: did you mean {meant}?",)


def test_a_variable_that_is_near_to_none_is_named_too() -> None:
    assert read(COMFYSUP_XYZ="1").warnings == (
        "unknown variable COMFYSUP_XYZ: no setting has that name",
    )


@pytest.mark.parametrize("name", ["COMFYSUP_MARKER", "PATH", "COMFYSUP_PORT", "XCOMFYSUP_PORT"])
def test_known_settings_and_unrelated_variables_cause_no_warning(name: str) -> None:
    assert read(**{name: "1"}).warnings == ()


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


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "comfyui.example"])  # noqa: S104
def test_without_a_token_an_address_that_others_reach_is_unprotected(host: str) -> None:
    assert read(COMFYSUP_HOST=host).unprotected
    assert not read(COMFYSUP_HOST=host, COMFYSUP_TOKEN="t").unprotected
    assert not read(COMFYSUP_HOST=host, COMFYSUP_READ_TOKEN="t").unprotected


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost", "LocalHost"])
def test_this_machine_alone_needs_no_token(host: str) -> None:
    assert not read(COMFYSUP_HOST=host).unprotected


# ---- what others set without meaning it

SERVICE = {
    "COMFYSUP_PORT": "tcp://10.0.0.7:8001",
    "COMFYSUP_PORT_8001_TCP": "tcp://10.0.0.7:8001",
    "COMFYSUP_PORT_8001_TCP_ADDR": "10.0.0.7",
    "COMFYSUP_PORT_8001_TCP_PORT": "8001",
    "COMFYSUP_PORT_8001_TCP_PROTO": "tcp",
    "COMFYSUP_SERVICE_HOST": "10.0.0.7",
    "COMFYSUP_SERVICE_PORT": "8001",
    "COMFYSUP_SERVICE_PORT_HTTP": "8001",
    "COMFYSUP_WEB_PORT": "tcp://10.0.0.7:8001",
    "COMFYSUP_WEB_SERVICE_PORT": "8001",
}
"""What Kubernetes sets in every container beside a Service called comfysup."""


def test_the_variables_of_a_service_of_this_name_are_ignored_with_a_warning() -> None:
    settings = read(**SERVICE)

    assert settings.port == 8001
    (warning,) = settings.warnings
    assert warning.startswith('COMFYSUP_PORT is ignored: "tcp://10.0.0.7:8001"')


@pytest.mark.parametrize("name", ["COMFYSUP_HOST", "COMFYSUP_LOG_KEEP", "COMFYSUP_STOP_GRACE"])
def test_so_is_any_other_setting_that_is_an_address(name: str) -> None:
    settings = read(**{name: "udp://10.0.0.7:1"})

    assert replace(settings, warnings=()) == read()
    assert name in settings.warnings[0]


def test_an_access_control_is_never_ignored() -> None:
    assert read(COMFYSUP_TOKEN="a://b").token == Token.of("a://b")
    assert mistakes(COMFYSUP_ALLOWED_HOSTS="http://a.example")


@pytest.mark.parametrize(
    "given",
    [
        "--port 3001 --lowvram 'a b'",
        "--lowvram 'a b' --port=3001",
        "--listen --lowvram 'a b'",
        "--listen 0.0.0.0 --port 3001 --lowvram 'a b'",
        "--lowvram 'a b' --listen",
        "--lis=:: --po 1 --lowvram 'a b' --port",
    ],
)
def test_port_and_listen_in_extra_args_are_dropped_with_a_warning(given: str) -> None:
    settings = read(EXTRA_ARGS=given)

    assert settings.extra_args == ("--lowvram", "a b")
    assert settings.warnings == (
        "EXTRA_ARGS: --port and --listen are dropped, since comfysup sets them",
    )


# ---- the last good ones

LIFE = BootIdentity("boot", 17)
GUARDED = {
    "COMFYSUP_TOKEN": "hunter2",
    "COMFYSUP_READ_TOKEN": "other",
    "COMFYSUP_ALLOWED_HOSTS": "a.example",
    "COMFYSUP_PROBE_PERIOD": "7",
    "EXTRA_ARGS": "--lowvram",
}


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    tmp_path.chmod(0o700)
    remember(StateFile(tmp_path / "settings.json"), read(**GUARDED), LIFE)
    return tmp_path / "settings.json"


def test_the_last_good_settings_come_back_as_they_were(kept: Path) -> None:
    assert last_good(kept, LIFE) == read(**GUARDED)
    assert kept.stat().st_mode & 0o777 == 0o600
    assert "hunter2" not in kept.read_text()


def test_those_of_another_version_too(kept: Path) -> None:
    members = json.loads(kept.read_text())
    members["settings"].update(novelty=1)
    del members["settings"]["log_keep"], members["settings"]["policy"]["stop_grace"]
    kept.write_text(json.dumps({**members, "novelty": 1}))

    assert last_good(kept, LIFE) == read(**GUARDED)


def test_those_of_another_life_of_the_container_do_not_count(kept: Path) -> None:
    assert last_good(kept, BootIdentity("boot", 18)) is None


@pytest.mark.parametrize("content", [b"", b"\0" * 9, b"[]", b"{}", b"[" * 100_000])
def test_garbage_is_no_settings(kept: Path, content: bytes) -> None:
    kept.write_bytes(content)

    assert last_good(kept, LIFE) is None


def test_in_a_directory_that_is_open_to_others_there_are_none(kept: Path) -> None:
    kept.parent.chmod(0o777)

    assert last_good(kept, LIFE) is None


def test_access_controls_are_as_strict_as_before_and_as_configured_now(
    kept: Path,
) -> None:
    last = last_good(kept, LIFE)
    assert last is not None
    environ = {"COMFYSUP_TOKEN": "new", "COMFYSUP_TOKEN_FILE": "/none", "COMFYSUP_PORT": "x"}
    with pytest.raises(SettingsError) as caught:
        read(**environ, COMFYSUP_READ_TOKEN="newer")

    settings = instead_of(caught.value.partial, last, caught.value.mistakes)

    assert settings.token == Token.of("hunter2")
    assert settings.read_token == Token.of("newer")
    assert settings.allowed_hosts == {"a.example"}
    assert settings.policy.probe_period == 7
    assert len(settings.mistakes) == 2
