"""Which GPUs an instance may request, given the driver and the daemon's variables."""

from dataclasses import dataclass

import pytest

from comfysup.linux.host.gpu_request import Inherited, indices_of, unknown_gpu


@dataclass(frozen=True)
class Card:
    index: int
    uuid: str


CARDS = (Card(0, "GPU-aaaa-1"), Card(1, "GPU-bbbb-2"))


@pytest.mark.parametrize("wish", ["0", "1", "0,1", "GPU-aaaa-1", "GPU-bb", "MIG-whatever"])
def test_a_gpu_known_to_the_driver_is_accepted(wish: str) -> None:
    assert unknown_gpu(wish, CARDS) is None


@pytest.mark.parametrize(("wish", "named"), [("2", "2"), ("0,7", "7"), ("GPU-cccc", "GPU-cccc")])
def test_a_gpu_unknown_to_the_driver_is_refused(wish: str, named: str) -> None:
    assert unknown_gpu(wish, CARDS) == (
        f"there is no GPU {named}; the driver knows: 0 (GPU-aaaa-1), 1 (GPU-bbbb-2)"
    )


@pytest.mark.parametrize("wish", ["0", "7", "GPU-cccc"])
def test_without_a_driver_any_gpu_is_accepted(wish: str) -> None:
    assert unknown_gpu(wish, ()) is None


@pytest.mark.parametrize(
    ("left", "wish", "allowed"),
    [
        (None, "7", True),
        ("0,1", "1", True),
        ("0,1", "0,1", True),
        ("1", "0", False),
        ("1", "0,1", False),
        (" 1 , 0 ", "0", True),
        ("", "0", False),
        ("-1", "0", False),
        ("GPU-bbbb-2", "1", True),
        ("GPU-bbbb-2", "0", False),
        ("0", "GPU-aaaa-1", True),
        ("GPU-aaaa", "GPU-aaaa-1", True),
        ("MIG-x", "MIG-x", True),
        ("MIG-x", "0", False),
    ],
)
def test_a_gpu_that_is_not_visible_to_the_daemon_is_refused(
    left: str | None,
    wish: str,
    allowed: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    inherited = Inherited({} if left is None else {"CUDA_VISIBLE_DEVICES": left})

    refusal = inherited.refusal(wish, CARDS)

    assert (refusal is None) is allowed
    assert refusal is None or "CUDA_VISIBLE_DEVICES=" in refusal


def test_numbers_are_compared_without_a_driver() -> None:
    inherited = Inherited({"HIP_VISIBLE_DEVICES": "2,3"})

    assert inherited.refusal("3", ()) is None
    assert inherited.refusal("0", ()) == (
        "GPU 0 is left out by HIP_VISIBLE_DEVICES=2,3, with which comfysup was started"
    )


def test_a_uuid_has_the_number_that_the_driver_gives_it() -> None:
    assert indices_of("GPU-bbbb-2,0", CARDS) == (1, 0)
    assert indices_of("GPU-bbbb-2", ()) == ()
