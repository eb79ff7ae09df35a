"""The usage of an instance in the API."""

from comfysup.demo.workspace import build_environment
from tests.scenarios.harness import Daemon
from tests.scenarios.prompts import Comfy, node
from tests.scenarios.waiting import until_async


async def test_usage_covers_the_whole_process_tree(daemon: Daemon) -> None:
    build_environment(daemon.workspace, "comm")
    await daemon.start()
    port = daemon.ports.reserve()
    env = {"STANDIN_CHILDREN": "child,grandchild"}
    await daemon.api.start(0, port, env=env)

    async def is_so() -> bool:
        usage = (await daemon.api.show(0))["usage"]
        return bool(usage) and usage["processes"] >= 3 and usage["rss_bytes"] > 10 << 20

    await until_async(is_so)

    await Comfy(port).submit(node("StandInBurn", seconds=60), "burns")

    async def burns() -> bool:
        return bool((await daemon.api.show(0))["usage"]["cpu_percent"] > 20)

    await until_async(burns)
    await daemon.api.act(0, "stop")
    assert (await daemon.api.show(0))["usage"] is None


async def test_without_a_gpu_all_other_usage_is_reported(daemon: Daemon) -> None:
    """The lack is logged once; `auto` selects none, and a number is passed unchanged."""
    build_environment(daemon.workspace, "comm")
    await daemon.start()

    for number, gpu in enumerate(("auto", 1)):
        answer = await daemon.api.start(number, daemon.ports.reserve(), gpu=gpu)
        assert answer.status == 200, answer

    assert len(daemon.events("gpu.none_seen")) == 1
    usages = [each["usage"] for each in await daemon.api.show_all()]
    assert all(usage is None or usage["gpus"] == [] for usage in usages)
