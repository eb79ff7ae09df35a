"""Ends of logs as in public reports, each with its correct reason."""

from tests.unit.comfyui.reports.aborts import ABORTS
from tests.unit.comfyui.reports.accelerators import ACCELERATORS
from tests.unit.comfyui.reports.bystanders import BYSTANDERS
from tests.unit.comfyui.reports.devices import DEVICES
from tests.unit.comfyui.reports.endings import ENDINGS
from tests.unit.comfyui.reports.files import FILES
from tests.unit.comfyui.reports.gpus import GPUS
from tests.unit.comfyui.reports.libraries import LIBRARIES
from tests.unit.comfyui.reports.loading import LOADING
from tests.unit.comfyui.reports.native import NATIVE
from tests.unit.comfyui.reports.network import NETWORK
from tests.unit.comfyui.reports.python import PYTHON
from tests.unit.comfyui.reports.settings import SETTINGS
from tests.unit.comfyui.reports.shape import Report
from tests.unit.comfyui.reports.survivors import SURVIVORS

__all__ = ["ASSETS", "REPORTED", "Report"]

REPORTED = [
    *GPUS,
    *DEVICES,
    *ACCELERATORS,
    *NATIVE,
    *ABORTS,
    *PYTHON,
    *LOADING,
    *LIBRARIES,
    *SETTINGS,
    *NETWORK,
    *FILES,
    *ENDINGS,
    *SURVIVORS,
    *BYSTANDERS,
]

ASSETS = {
    "in_use": "database_locked",
    "locked": "database_locked",
    "newer_revision": "database_newer",
    "path_blocked": "permission_denied",
    "not_writable": "permission_denied",
    "corrupt": "database_corrupt",
    "unsupported_url": "unknown_argument",
    "missing_packages": "missing_module",
    "other": "database_failed",
}
"""The kinds of `ASSETS_STARTUP_FAILED` (app/database/db.py), each with its reason."""
