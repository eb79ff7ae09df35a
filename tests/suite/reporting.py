"""A failure always prints its report.

CPython before 3.11.8 and 3.12.2 counts the depth of all syntax trees that it makes in one place
(gh-106905): a tree made while another one is being made is `SystemError: AST constructor recursion
depth mismatch`. pytest parses the source of what failed, the garbage collector may run in the
middle of that, and a finalizer whose traceback is formatted then (an unclosed socket is an error
here) parses again. In place of the report came the end of the whole run.
"""

import gc
from collections.abc import Generator

import pytest


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Disable the garbage collector while a report is made."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        return (yield)
    finally:
        if was_enabled:
            gc.enable()
