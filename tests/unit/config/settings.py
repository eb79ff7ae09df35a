"""Settings as the environment gives them."""

import pytest

from comfysup.config.settings import Settings
from comfysup.config.variables import SettingsError

TOKEN = "must be 1 to 4096 visible ASCII characters without spaces"


def read(**environ: str) -> Settings:
    return Settings.from_environ(environ, uid=0)


def errors_of(**environ: str) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        read(**environ)
    return list(caught.value.mistakes)
