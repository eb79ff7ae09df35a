"""Limits on everything that a caller controls."""

from dataclasses import dataclass
from typing import Final

from comfysup.config.settings import Settings

DEFAULTS: Final = Settings()

MAX_WAIT = 3_600.0
"""Seconds that a request may ask to wait."""

MAX_INSTANCES = 1_000
"""Instances in one request."""

MAX_LINES = 10_000_000
"""Lines of a log that a request may ask for; they are sent as they are read."""

MAX_MISTAKES = 100
"""Mistakes that one answer names."""

MAX_HEADERS = 64
"""Maximum number of headers of one request; each may have 8,190 bytes."""

MAX_HEAD_BYTES = 1 << 16
"""Maximum bytes received of an incomplete request head."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on requests and connections. Times are seconds; `Settings` has the defaults.

    `idle_seconds` is the maximum time until the complete head of the next request has arrived, and
    `body_seconds` the maximum time for its body. `json_depth` counts nested lists and objects.
    `connections` applies to each listener separately.
    """

    body_bytes: int = DEFAULTS.max_body
    body_seconds: float = DEFAULTS.body_timeout
    json_depth: int = DEFAULTS.max_json_depth
    idle_seconds: float = DEFAULTS.idle_timeout
    connections: int = DEFAULTS.max_connections
