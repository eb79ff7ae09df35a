"""How often an instance is restarted after failures, and after which delay."""

from dataclasses import replace

from comfysup.model.spec import Policy
from comfysup.supervision.life import Exit, Life
from comfysup.supervision.lifecycle_events import Blame

PERMANENT_FAILURES = 2
"""The maximum number of failures in a row if the last one is permanent. One restart is tried in
case an update was in progress."""

BLAMED_RESTARTS = 10
BLAMED_SHARE = 2
"""The limits, as a number of crashes in a row and as a multiple of `max_failures`, up to which a
crash without a finished prompt is blamed on its prompt. Many such crashes in a row are more likely
the fault of the instance."""


def restart_delay(policy: Policy, earlier: int, chance: float) -> float:
    """Return the seconds to wait before the next start.

    `earlier` is the number of back-offs already made in this row of failures. `chance`, in [0, 1),
    spreads the restarts of simultaneous exits over the last tenth of the wait.
    """
    doubled = policy.backoff_initial * 2.0 ** min(earlier, 64)
    return min(doubled, policy.backoff_max) * (1.0 + chance / 10.0)


def failures_allowed(life: Life, policy: Policy) -> int:
    """Return the number of failures in a row after which the instance is not restarted."""
    permanent = life.last_exit is not None and life.last_exit.permanent
    return min(policy.max_failures, PERMANENT_FAILURES) if permanent else policy.max_failures


def failed_once(life: Life, end: Exit, policy: Policy, blame: Blame = Blame.NONE) -> Life:
    """Count a failure; a crash that a prompt caused counts against that prompt only.

    `BLAMED_RESTARTS` limits this. The back-off grows with each crash of either kind.
    """
    limit = max(BLAMED_RESTARTS, BLAMED_SHARE * policy.max_failures)
    excused = blame is Blame.CERTAIN or (blame is Blame.LIKELY and life.backoffs < limit)
    failures = life.failures + (0 if excused else 1)
    return replace(life, last_exit=replace(end, expected=False), failures=failures)


def forgiven(life: Life) -> Life:
    """Reset the counts of failures, because a caller starts the instance."""
    return replace(life, restarts=0, failures=0, backoffs=0)
