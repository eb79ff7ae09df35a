"""Hooks for every run of the tests."""

import pytest

from tests.suite import examples, leftovers, reporting, signals

# What asserts for tests says as much as they do when it fails.
pytest.register_assert_rewrite("tests.chaos", "tests.scenarios.harness", "tests.scenarios.client")


def pytest_configure(config: pytest.Config) -> None:
    for plugin in (signals, reporting, examples, leftovers):
        config.pluginmanager.register(plugin)
