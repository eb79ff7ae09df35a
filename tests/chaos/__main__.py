"""`python -m tests.chaos [ROUNDS] [SEED]`: run the chaos suite for any number of rounds."""

import asyncio
import sys
import time
import traceback

from tests.chaos.story import Story

ROUNDS_EACH = 10


def main(rounds: int = 200, seed: int = 1) -> int:
    """Run stories of ten rounds, each with its own seed; the exit code counts failures."""
    failures = 0
    for number, played in enumerate(range(0, rounds, ROUNDS_EACH)):
        began = time.monotonic()
        try:
            asyncio.run(Story(seed + number).play(min(ROUNDS_EACH, rounds - played)))
        except Exception:  # noqa: BLE001 - what one story found must not hide what others do
            failures += 1
            traceback.print_exc()
        took = time.monotonic() - began
        print(f"seed {seed + number}: {took:.1f} s, {failures} failed so far", flush=True)  # noqa: T201
    return min(failures, 100)


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
