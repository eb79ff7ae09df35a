"""Limits on everything that a caller controls."""

from dataclasses import dataclass

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
    """Bounds on requests and connections. Times are seconds.

    `idle_seconds` is how long a connection may take to bring its next request, the whole head of
    it included; `body_seconds` how long the body may take after that. `json_depth` counts lists
    and objects within each other. `connections` holds for each listener by itself.
    """

    body_bytes: int = 1 << 20
    body_seconds: float = 10.0
    json_depth: int = 32
    idle_seconds: float = 30.0
    connections: int = 1_000
