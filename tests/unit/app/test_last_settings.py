"""The last valid settings, which a restart in place falls back to."""

import json
from pathlib import Path

import pytest

from comfysup.app.last_settings import instead_of, last_good, remember
from comfysup.config.variables import SettingsError, Token
from comfysup.linux.host.boot_identity import BootIdentity
from comfysup.linux.rundir.state_file import StateFile
from tests.unit.config.settings import read

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


def test_the_last_valid_settings_are_restored_unchanged(kept: Path) -> None:
    assert last_good(kept, LIFE) == read(**GUARDED)
    assert kept.stat().st_mode & 0o777 == 0o600
    assert "hunter2" not in kept.read_text()


def test_settings_of_another_version_are_restored(kept: Path) -> None:
    members = json.loads(kept.read_text())
    members["settings"].update(novelty=1)
    del members["settings"]["log_keep"], members["settings"]["policy"]["stop_grace"]
    kept.write_text(json.dumps({**members, "novelty": 1}))

    assert last_good(kept, LIFE) == read(**GUARDED)


def test_settings_of_another_boot_are_ignored(kept: Path) -> None:
    assert last_good(kept, BootIdentity("boot", 18)) is None


@pytest.mark.parametrize("content", [b"", b"\0" * 9, b"[]", b"{}", b"[" * 100_000])
def test_an_invalid_file_of_settings_is_ignored(kept: Path, content: bytes) -> None:
    kept.write_bytes(content)

    assert last_good(kept, LIFE) is None


def test_settings_in_a_directory_writable_by_others_are_ignored(kept: Path) -> None:
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
