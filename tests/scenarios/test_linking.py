"""The shared models of a real workspace."""

from comfysup.demo.workspace import build_environment
from tests.scenarios.client import API
from tests.scenarios.harness import Daemon

LINK = f"{API}/environments/comm/link"


async def test_models_are_linked_once_no_instance_uses_them(daemon: Daemon) -> None:
    environment = build_environment(daemon.workspace, "comm")
    models = environment / "models"
    if models.is_symlink():
        models.unlink()
    (models / "vae").mkdir(parents=True)
    (models / "vae" / "mine").write_text("mine")
    await daemon.start()
    await daemon.api.start(0, daemon.ports.reserve())

    refused = await daemon.api.ask("POST", LINK)
    await daemon.api.act(0, "stop")
    linked = await daemon.api.ask("POST", LINK)
    again = await daemon.api.ask("POST", LINK)

    shared = daemon.workspace / "shared-models"
    assert (refused.status, refused.body["code"]) == (409, "environment_in_use")
    assert linked.body["linked"]
    assert linked.body["moved"] == [str(shared / "vae" / "mine")]
    assert (models / "vae" / "mine").read_text() == "mine"
    assert again.body == {**again.body, "linked": True, "done": [], "moved": [], "left": []}
    assert (await daemon.api.act(0, "start")).status == 200


async def test_a_missing_environment_is_refused(daemon: Daemon) -> None:
    await daemon.start()

    for name in ("none", "..", "a%2Fb", "$(id)"):
        answer = await daemon.api.ask("POST", f"{API}/environments/{name}/link")
        assert (answer.status, answer.body["code"]) in (
            (404, "unknown_environment"),
            (404, "not_found"),
        )
    assert not (daemon.workspace / "shared-models").exists()
