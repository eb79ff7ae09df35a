"""Times as people write them: `90`, `90s`, `1.5m`, `2h`. Light: every command may need it."""

import re
from typing import Final

SECONDS: Final = {"": 1, "s": 1, "m": 60, "min": 60, "h": 3_600, "d": 86_400}
"""How long each unit is."""

FORMS: Final = '"90", "90s", "1.5m" or "2h"'
"""Examples for a message about what is none."""

_TIME = re.compile("[+]?([0-9]{1,18}(?:[.][0-9]{1,18})?) *(s|min|m|h|d|)", re.IGNORECASE)


def seconds_in(text: str) -> float | None:
    """Return the seconds that a text means; None for what is no time, or less than none."""
    written = _TIME.fullmatch(text.strip())
    return float(written[1]) * SECONDS[written[2].lower()] if written else None
