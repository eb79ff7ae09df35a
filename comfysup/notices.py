"""What happens to instances, as it stands in the daemon's own log."""

import structlog

from comfysup.supervision.events import Notice
from comfysup.supervision.instance import Instance

log = structlog.get_logger()


def log_notice(instance: Instance, notice: Notice) -> None:
    """Write one line: which instance, which process, and for an exit how."""
    life = instance.life
    run = life.run
    facts: dict[str, object] = {
        "instance": instance.spec.id,
        "name": instance.spec.name,
        "pid": run.pid if run else None,
        "generation": life.generation,
    }
    end = life.last_exit
    if notice is Notice.EXITED and end:
        facts |= {"exit_code": end.exit_code, "signal": end.signal, "reason": end.reason}
    log.info(str(notice), **facts)
