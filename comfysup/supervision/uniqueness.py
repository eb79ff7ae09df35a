"""The values that no two instances may share: id, name and port."""

from collections.abc import Iterable, Mapping
from itertools import product

from comfysup.model.spec import InstanceSpec
from comfysup.supervision.instance import Instance
from comfysup.supervision.life import Phase
from comfysup.supervision.lifecycle_events import StopAsked
from comfysup.supervision.refusals import name_taken, port_taken


def check_unique(spec: InstanceSpec, others: Iterable[Instance], reserved_port: int) -> None:
    """Raise `RefusedError` when the name or port of `spec` belongs to another instance.

    `reserved_port` is the daemon's own port.
    """
    owner = "comfysup itself" if spec.port == reserved_port else None
    for other in others:
        if _are_namesakes(spec, other.spec):
            raise name_taken(spec, other.spec)
        if other.spec.id != spec.id and spec.port in ports_of(other):
            owner = f"instance {other.spec.label}"
    if owner:
        raise port_taken(spec, owner)


def name_clash(
    new: Mapping[int, InstanceSpec], instances: Iterable[Instance]
) -> tuple[InstanceSpec, InstanceSpec] | None:
    """Return a new spec and the spec of another instance with the same name, or None."""
    after = [new.get(each.spec.id, each.spec) for each in instances]
    pairs = product(new.values(), after)
    return next((pair for pair in pairs if _are_namesakes(*pair)), None)


def is_bound(instance: Instance) -> bool:
    """Return whether a caller waits for or uses a process of the instance's present spec."""
    if instance.asked:
        return not isinstance(instance.asked, StopAsked)
    return instance.life.wanted and instance.life.phase not in (Phase.BACKOFF, Phase.FAILED)


def ports_of(instance: Instance) -> frozenset[int]:
    """Return the ports reserved for the instance: the port to use, and the port still in use."""
    resting = instance.life.phase in (Phase.STOPPED, Phase.FAILED) and not is_bound(instance)
    ports = (instance.held_port, None if resting else instance.spec.port)
    return frozenset(port for port in ports if port is not None)


def _are_namesakes(one: InstanceSpec, other: InstanceSpec) -> bool:
    return one.name == other.name and one.id != other.id
