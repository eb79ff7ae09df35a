"""Signals as a terminal's programs have them.

What a shell starts in the background ignores SIGINT and SIGQUIT, and what `nohup` starts SIGHUP;
every process that tests start would inherit that, and tests that interrupt one would wait for ever.
"""

import signal

import pytest


@pytest.hookimpl(tryfirst=True)
def pytest_configure() -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGHUP, signal.SIGQUIT, signal.SIGTERM):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
