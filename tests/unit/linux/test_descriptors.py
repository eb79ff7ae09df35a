"""The descriptors that remain after a launch."""

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from comfysup.linux.process import descriptors
from comfysup.linux.process.descriptors import LAUNCH, RESERVE, shortage


@contextmanager
def free(count: int) -> Iterator[None]:
    """Leave this process that number of descriptors."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    used = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - a number is all
    resource.setrlimit(resource.RLIMIT_NOFILE, (used + count, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_launches_fit_as_long_as_they_leave_the_reserve() -> None:
    with free(RESERVE + 2 * LAUNCH):
        assert shortage(2) is None
        assert "Too many open files: comfysup uses " in str(shortage(3))


@pytest.mark.parametrize("left", range(3))
def test_without_free_descriptors_no_spawn_is_possible(left: int) -> None:
    with free(left - 1):
        assert shortage(1)


def test_the_soft_limit_is_raised_to_the_hard_limit() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 256), hard))
    try:
        descriptors.raise_limit()
        assert descriptors.limit() == hard
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
