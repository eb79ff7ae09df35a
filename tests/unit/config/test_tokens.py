"""Access tokens: where they come from and where they must not appear."""

import os
from pathlib import Path

import pytest

from comfysup.config.variables import SettingsError, Token
from tests.unit.config.settings import TOKEN, errors_of, read


def test_a_token_is_read_from_a_file(tmp_path: Path) -> None:
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

    (text,) = errors_of(COMFYSUP_TOKEN_FILE=str(file))

    assert TOKEN in text
    assert "nter" not in text


def test_a_token_file_that_is_a_pipe_without_data_is_an_error_at_once(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    (no_writer,) = errors_of(COMFYSUP_TOKEN_FILE=str(pipe))
    end = os.open(pipe, os.O_RDWR)
    try:
        (no_data,) = errors_of(COMFYSUP_TOKEN_FILE=str(pipe))
        os.write(end, b"hunter2\n")
        found = read(COMFYSUP_TOKEN_FILE=str(pipe)).token
    finally:
        os.close(end)

    assert TOKEN in no_writer
    assert no_data.endswith("Resource temporarily unavailable")
    assert found == Token.of("hunter2")


def test_a_token_and_a_token_file_exclude_each_other(tmp_path: Path) -> None:
    both = "COMFYSUP_TOKEN and COMFYSUP_TOKEN_FILE are both set: remove one"

    assert errors_of(COMFYSUP_TOKEN="a", COMFYSUP_TOKEN_FILE=str(tmp_path)) == [both]


def test_equal_tokens_are_refused() -> None:
    same = "COMFYSUP_READ_TOKEN must differ from COMFYSUP_TOKEN, is the same"

    assert errors_of(COMFYSUP_TOKEN="a", COMFYSUP_READ_TOKEN="a") == [same]


@pytest.mark.parametrize("token", ["hunter2", "hunter2 with spaces", "hunter2\x07"])
def test_no_output_contains_a_token(token: str) -> None:
    try:
        settings = read(COMFYSUP_TOKEN=token, COMFYSUP_READ_TOKEN="other")
        seen = f"{settings!r} {settings.shown()}"
    except SettingsError as error:
        seen = f"{error} {error!r}"

    assert "hunter2" not in seen


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "comfyui.example"])  # noqa: S104
def test_a_public_address_without_a_token_is_unprotected(host: str) -> None:
    assert read(COMFYSUP_HOST=host).unprotected
    assert not read(COMFYSUP_HOST=host, COMFYSUP_TOKEN="t").unprotected
    assert not read(COMFYSUP_HOST=host, COMFYSUP_READ_TOKEN="t").unprotected


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost", "LocalHost"])
def test_a_loopback_address_needs_no_token(host: str) -> None:
    assert not read(COMFYSUP_HOST=host).unprotected
