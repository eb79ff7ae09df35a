"""Settings that are ignored with a warning, and variables that look misspelt."""

from dataclasses import replace

import pytest

from comfysup.config.variables import Token
from tests.unit.config.settings import errors_of, read


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("COMFYSUP_TOKN", "COMFYSUP_TOKEN"),
        ("COMFYSUP_STOPGRACE", "COMFYSUP_STOP_GRACE"),
        ("COMFYSUP_API_PORT", "COMFYSUP_PORT"),
    ],
)
def test_a_misspelt_variable_causes_a_warning(name: str, meant: str) -> None:
    assert read(**{name: "1"}).warnings == (f"unknown variable {name}: did you mean {meant}?",)


def test_an_unknown_variable_causes_a_warning() -> None:
    assert read(COMFYSUP_XYZ="1").warnings == (
        "unknown variable COMFYSUP_XYZ: no setting has that name",
    )


@pytest.mark.parametrize("name", ["COMFYSUP_MARKER", "PATH", "COMFYSUP_PORT", "XCOMFYSUP_PORT"])
def test_known_settings_and_unrelated_variables_cause_no_warning(name: str) -> None:
    assert read(**{name: "1"}).warnings == ()


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


def test_kubernetes_service_variables_are_ignored_with_a_warning() -> None:
    settings = read(**SERVICE)

    assert settings.port == 8001
    (warning,) = settings.warnings
    assert warning.startswith('COMFYSUP_PORT is ignored: "tcp://10.0.0.7:8001"')


@pytest.mark.parametrize("name", ["COMFYSUP_HOST", "COMFYSUP_LOG_KEEP", "COMFYSUP_STOP_GRACE"])
def test_any_setting_that_is_a_service_address_is_ignored(name: str) -> None:
    settings = read(**{name: "udp://10.0.0.7:1"})

    assert replace(settings, warnings=()) == read()
    assert name in settings.warnings[0]


def test_an_invalid_access_control_is_never_ignored() -> None:
    assert read(COMFYSUP_TOKEN="a://b").token == Token.of("a://b")
    assert errors_of(COMFYSUP_ALLOWED_HOSTS="http://a.example")


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
