"""A driver without a GPU, which can hang like any other path."""

import os

_DRIVER = "/dev/nvidiactl"


def nvmlInit() -> None:  # noqa: N802 - its name
    """Opens the driver."""
    os.path.exists(_DRIVER)  # noqa: PTH110 - a call that the directory's other module sees


def nvmlDeviceGetCount() -> int:  # noqa: N802 - its name
    """Asks the driver."""
    nvmlInit()
    return 0
