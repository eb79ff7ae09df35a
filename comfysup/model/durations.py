"""Parses durations such as `90`, `90s`, `1.5m` and `2h`. Every command may import this module."""

import re
from typing import Final

SECONDS: Final = {"": 1, "s": 1, "m": 60, "min": 60, "h": 3_600, "d": 86_400}
"""The length of each unit in seconds."""

FORMS: Final = '"90", "90s", "1.5m" or "2h"'
"""Examples for the message about an invalid duration."""

_TIME = re.compile("[+]?([0-9]{1,18}(?:[.][0-9]{1,18})?) *(s|min|m|h|d|)", re.IGNORECASE)


def seconds_in(text: str) -> float | None:
    """Return the seconds of a duration; None if `text` is not a non-negative duration."""
    written = _TIME.fullmatch(text.strip())
    return float(written[1]) * SECONDS[written[2].lower()] if written else None
