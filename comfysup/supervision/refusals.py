"""Errors with which the fleet refuses a request."""

from comfysup.model.spec import InstanceSpec
from comfysup.supervision.protocols import RefusedError


def shutting_down(spec: InstanceSpec) -> RefusedError:
    """Return the error for a start that arrives during shutdown."""
    return RefusedError(
        "shutting_down", f"cannot start instance {spec.label}: comfysup is shutting down"
    )


def conflict(present: InstanceSpec, spec: InstanceSpec, verb: str) -> RefusedError:
    """Return the error for a spec whose essence differs from that of a running process."""
    names = ("environment", "port", "extra_args", "gpu", "env")
    what = ", ".join(name for name in names if getattr(present, name) != getattr(spec, name))
    return RefusedError(
        "spec_conflict",
        f"cannot {verb} instance {spec.label}: it runs with another {what}; stop it first",
    )


def name_taken(spec: InstanceSpec, owner: InstanceSpec, verb: str = "start") -> RefusedError:
    """Return the error for a spec whose name belongs to another instance."""
    return RefusedError(
        "name_taken",
        f"cannot {verb} instance {spec.label}: the name belongs to instance {owner.id}",
    )


def port_taken(spec: InstanceSpec, owner: str) -> RefusedError:
    """Return the error for a spec whose port belongs to `owner`."""
    return RefusedError(
        "port_taken",
        f"cannot start instance {spec.label}: port {spec.port} belongs to {owner}",
    )
