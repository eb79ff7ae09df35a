"""Random faults of a daemon; `make chaos` runs longer."""

import pytest

from tests.chaos.story import Story


@pytest.mark.parametrize("seed", range(1, 5))
async def test_random_faults_lose_no_prompt_and_leave_no_process(seed: int) -> None:
    await Story(seed).play(2)
