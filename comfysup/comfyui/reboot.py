"""How ComfyUI-Manager asks to be started again.

Its reboot button, and its start when it has installed something, do this where the variable
`__COMFY_CLI_SESSION__` is set (`manager_server.py`, `prestartup_script.py`; 3.x and 4.x alike):
they create the empty file `$__COMFY_CLI_SESSION__.reboot` and exit with 0. Without the variable
they re-execute themselves in place.
"""

from dataclasses import dataclass
from pathlib import Path

SESSION_VARIABLE = "__COMFY_CLI_SESSION__"


@dataclass(frozen=True, slots=True)
class RebootRequest:
    """The request of one instance; `session` is the absolute path of its file less `.reboot`.

    It means something only after an exit with 0: what ends otherwise after asking has crashed.
    """

    session: Path

    @property
    def path(self) -> Path:
        """The file that the Manager creates."""
        return self.session.with_name(f"{self.session.name}.reboot")

    def clear(self) -> None:
        """Forget what an earlier generation asked; before each start. Raises OSError."""
        self.path.unlink(missing_ok=True)

    def take(self) -> bool:
        """Say whether a reboot was asked for, and forget it: the second call says no."""
        try:
            self.path.unlink()
        except OSError:
            return False
        return True
