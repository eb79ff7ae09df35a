"""Examples of Hypothesis take as long as the machine needs.

It allows 200 ms for each by default, and some seconds for the making of them all: a machine that is
busy with something else fails tests by that. A test that hangs ends by its own time limit.
"""

import pytest
from hypothesis import HealthCheck, settings


@pytest.hookimpl(tryfirst=True)
def pytest_configure() -> None:
    """Before a test is imported: what its own settings leave out comes from here."""
    settings.register_profile(
        "patient", deadline=None, suppress_health_check=[HealthCheck.too_slow]
    )
    settings.load_profile("patient")
