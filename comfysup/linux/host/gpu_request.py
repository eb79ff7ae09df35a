"""Whether the GPUs that an instance asks for are there, and left to it by the daemon's variables.

`CUDA_VISIBLE_DEVICES` holds numbers, uuids (`GPU-…`, of which CUDA takes the beginning too) or
parts of a GPU (`MIG-…`, which NVML's list of GPUs does not name). An empty one leaves no GPU.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

VARIABLES = ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES")


class KnownGpu(Protocol):
    """A GPU as its driver names it."""

    @property
    def index(self) -> int: ...
    @property
    def uuid(self) -> str: ...


class Inherited:
    """Which GPUs the daemon's own variables leave to its instances."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        """Look at the first of `VARIABLES` that is set; all GPUs are left where none is."""
        self._name = next((name for name in VARIABLES if name in environ), None)
        self._text = environ[self._name].strip() if self._name else ""
        self._left = [each.strip() for each in self._text.split(",") if each.strip()]

    def allows(self, wish: str, gpus: Collection[KnownGpu]) -> bool:
        """Whether one GPU of a wish, a number or a uuid, is left."""
        names = _names(wish, gpus)
        return self._name is None or any(names & _names(each, gpus) for each in self._left)

    def refusal(self, wish: str, gpus: Collection[KnownGpu]) -> str | None:
        """Return why a wish goes beyond what is left; None where it does not."""
        for each in wish.split(","):
            if not self.allows(each, gpus):
                return (
                    f"GPU {each} is left out by {self._name}={self._text}, with which comfysup "
                    "was started"
                )
        return None


def unknown_gpu(wish: str, gpus: Sequence[KnownGpu]) -> str | None:
    """Return which GPU of a wish its driver does not know; None where it knows all, or is none."""
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
    """Return the numbers of the GPUs that a value of `CUDA_VISIBLE_DEVICES` names."""
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
    """Return all names by which that GPU may be called."""
    same = [gpu for gpu in gpus if _is(name, gpu)]
    return {name.lstrip("0") or "0" if name.isdecimal() else name} | {
        each for gpu in same for each in (str(gpu.index), gpu.uuid) if each
    }
