import os
import subprocess
import sys
from pathlib import Path

import pytest

from comfysup.comfyui.reboot import SESSION_VARIABLE, RebootRequest

# What comfyui-manager 4.3 does in manager_server.py (`/v2/manager/reboot`).
MANAGER = """
import os
if "__COMFY_CLI_SESSION__" in os.environ:
    with open(os.path.join(os.environ["__COMFY_CLI_SESSION__"] + ".reboot"), "w"):
        pass
    exit(0)
exit(1)
"""


@pytest.fixture
def request_(tmp_path: Path) -> RebootRequest:
    return RebootRequest(tmp_path / "instance 0.v2")


def test_a_reboot_request_of_the_manager_is_consumed_once(
    request_: RebootRequest,
) -> None:
    environ = {**os.environ, SESSION_VARIABLE: str(request_.session)}
    subprocess.run([sys.executable, "-c", MANAGER], env=environ, check=True)

    assert request_.path.exists()
    assert request_.take()
    assert not request_.take()
    assert not request_.path.exists()


def test_a_missing_marker_is_no_request(request_: RebootRequest) -> None:
    assert not request_.take()


def test_a_request_of_an_earlier_generation_is_forgotten_before_the_start(
    request_: RebootRequest,
) -> None:
    request_.path.touch()
    request_.clear()
    request_.clear()

    assert not request_.take()


def test_a_missing_run_directory_is_no_request(tmp_path: Path) -> None:
    gone = RebootRequest(tmp_path / "gone" / "0")
    gone.clear()

    assert not gone.take()
