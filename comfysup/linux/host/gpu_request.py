"""Checks that requested GPUs exist and that the daemon's own variables allow them.

`CUDA_VISIBLE_DEVICES` holds indices, UUIDs (`GPU-…`; CUDA also accepts a prefix), or MIG devices
(`MIG-…`, absent from NVML's list of GPUs). An empty value allows no GPU.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

VARIABLES = ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES")


class KnownGpu(Protocol):
    """A GPU as the driver identifies it."""

    @property
    def index(self) -> int: ...
    @property
    def uuid(self) -> str: ...


class Inherited:
    """The GPUs that the daemon's own environment variables allow to its instances."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        """Read the first of `VARIABLES` that is set. If none is set, all GPUs are allowed."""
        self._name = next((name for name in VARIABLES if name in environ), None)
        self._text = environ[self._name].strip() if self._name else ""
        self._left = [each.strip() for each in self._text.split(",") if each.strip()]

    def allows(self, wish: str, gpus: Collection[KnownGpu]) -> bool:
        """Return whether one requested GPU, an index or a UUID, is allowed."""
        names = _names(wish, gpus)
        return self._name is None or any(names & _names(each, gpus) for each in self._left)

    def refusal(self, wish: str, gpus: Collection[KnownGpu]) -> str | None:
        """Return why a request exceeds the allowed GPUs, or None."""
        for each in wish.split(","):
            if not self.allows(each, gpus):
                return (
                    f"GPU {each} is left out by {self._name}={self._text}, with which comfysup "
                    "was started"
                )
        return None


def unknown_gpu(wish: str, gpus: Sequence[KnownGpu]) -> str | None:
    """Return which requested GPU the driver does not list, or None. Without a driver: None."""
    if not gpus:
        return None
    for each in wish.split(","):
        if each.startswith("MIG-"):
            continue
        if not any(_is(each, gpu) for gpu in gpus):
            known = ", ".join(f"{gpu.index} ({gpu.uuid})" for gpu in gpus)
            return f"there is no GPU {each}; the driver knows: {known}"
    return None


def indices_of(wish: str, gpus: Collection[KnownGpu]) -> tuple[int, ...]:
    """Return the indices of the GPUs that a value of `CUDA_VISIBLE_DEVICES` names."""
    numbers: list[int] = []
    for each in wish.split(","):
        if each.strip().isdecimal():
            numbers.append(int(each))
        else:
            numbers += [gpu.index for gpu in gpus if _is(each.strip(), gpu)]
    return tuple(numbers)


def _is(name: str, gpu: KnownGpu) -> bool:
    if name.isdecimal():
        return int(name) == gpu.index
    return bool(gpu.uuid) and name.startswith("GPU-") and gpu.uuid.startswith(name)


def _names(name: str, gpus: Collection[KnownGpu]) -> set[str]:
    """Return every name that refers to the same GPU."""
    same = [gpu for gpu in gpus if _is(name, gpu)]
    return {name.lstrip("0") or "0" if name.isdecimal() else name} | {
        each for gpu in same for each in (str(gpu.index), gpu.uuid) if each
    }
