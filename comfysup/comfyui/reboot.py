"""The restart requests of ComfyUI-Manager.

Its reboot button, and its start after an installation, do this if the variable
`__COMFY_CLI_SESSION__` is set (`manager_server.py`, `prestartup_script.py`; 3.x and 4.x alike):
they create the empty file `$__COMFY_CLI_SESSION__.reboot` and exit with 0. Without the variable
they re-execute themselves in place.
"""

from dataclasses import dataclass
from pathlib import Path

SESSION_VARIABLE = "__COMFY_CLI_SESSION__"


@dataclass(frozen=True, slots=True)
class RebootRequest:
    """The request file of one instance; `session` is its absolute path without `.reboot`.

    A request counts only after an exit with 0; any other exit after it is a crash.
    """

    session: Path

    @property
    def path(self) -> Path:
        """The file that the Manager creates."""
        return self.session.with_name(f"{self.session.name}.reboot")

    def clear(self) -> None:
        """Remove an earlier generation's request before a start. Raises OSError."""
        self.path.unlink(missing_ok=True)

    def take(self) -> bool:
        """Return whether a reboot was requested, and remove the request."""
        try:
            self.path.unlink()
        except OSError:
            return False
        return True
