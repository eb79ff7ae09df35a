"""Two daemons with one log directory, as on a volume shared by containers."""

from tests.scenarios.harness import Daemon
from tests.scenarios.programs import SERVE, Program


async def test_a_second_daemon_on_a_log_directory_uses_separate_logs_and_reports_it(
    daemon: Daemon,
) -> None:
    """The first daemon is not affected, and keeps the names after a restart."""
    Program(daemon.workspace, script="echo mine; " + SERVE)
    await daemon.start()
    await daemon.api.start(0, daemon.ports.reserve())
    other = Daemon()
    other.workspace = daemon.workspace
    try:
        await other.start(variables={"COMFYSUP_LOG_DIR": str(daemon.log_dir)})
        await other.api.start(0, other.ports.reserve())
        shown = await other.api.until(0, state="running")
        of_logs, of_workspace = await other.api.troubles()

        assert of_logs.startswith("comfysup on ")
        assert str(daemon.log_dir) in of_logs
        assert str(daemon.workspace) in of_workspace
        assert shown["log_file"] != (await daemon.api.show(0))["log_file"]
        assert daemon.instance_log(0).count("mine") == 1
        assert len(sorted(daemon.log_dir.rglob("*.pid"))) == 2
        await daemon.kill()
        await other.api.ask("POST", "/api/comfyui/stop-all")
        await daemon.start()
        assert await daemon.api.troubles() == []
        await daemon.api.ask("POST", "/api/comfyui/stop-all")  # `close` counts the whole workspace
    finally:
        await other.close()
