"""Importing what the daemon is made of, with less time and memory."""

import gc
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

UNUSED = {
    "SSL_CERT_FILE": os.devnull,
    "SSL_CERT_DIR": os.devnull,
}


@contextmanager
def lean_imports() -> Iterator[None]:
    """Import meanwhile without looking for garbage, and without what the daemon has no use for.

    Nothing that is imported becomes garbage: looking for it takes a fifth of the time, and is left
    out for good. structlog imports rich wherever it is installed, for tracebacks that a daemon does
    not draw: 3 MB. aiohttp reads the certificates of all authorities, and the daemon checks
    nobody's: 2 MB and 40 ms.
    """
    gc.disable()
    with _without("rich"), _changed_environment(UNUSED):
        yield
    gc.freeze()
    gc.enable()


@contextmanager
def _without(name: str) -> Iterator[None]:
    """Hide a module; None in its place is Python's own way to say that it is not there."""
    module = sys.modules.get(name)
    sys.modules[name] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules[name]
        if module is not None:
            sys.modules[name] = module


@contextmanager
def _changed_environment(variables: dict[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
