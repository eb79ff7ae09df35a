"""The daemon suffers at random moments; `make chaos` plays longer."""

import pytest

from tests.chaos.story import Story


@pytest.mark.parametrize("seed", range(1, 5))
async def test_whatever_happens_nothing_is_lost_or_left(seed: int) -> None:
    await Story(seed).play(2)
