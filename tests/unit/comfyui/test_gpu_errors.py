"""Failed prompts that show a GPU that no prompt can use any more."""

import pytest

from comfysup.comfyui.diagnosis.conditions import lasting_gpu_error

ASSERT = "CUDA error: device-side assert triggered\nCUDA kernel errors might be asynchronous"


@pytest.mark.parametrize(
    "error", [ASSERT, "HIP error: an illegal memory access was encountered", "cuda error: unknown"]
)
def test_a_gpu_error_in_the_last_prompts_is_a_condition(error: str) -> None:
    condition = lasting_gpu_error(["", error, error, error])

    assert condition is not None
    assert condition.message.endswith(error.partition("\n")[0])
    assert condition.hint


@pytest.mark.parametrize(
    "failures",
    [
        [],
        [ASSERT, ASSERT],
        [ASSERT, ASSERT, ASSERT, ""],
        [ASSERT, ASSERT, "KeyError: 'model'"],
        ["CUDA error: out of memory"] * 3,
        ["CUDA out of memory. Tried to allocate 2.00 GiB"] * 3,
    ],
)
def test_few_failures_other_errors_and_out_of_memory_are_no_condition(failures: list[str]) -> None:
    assert lasting_gpu_error(failures) is None
