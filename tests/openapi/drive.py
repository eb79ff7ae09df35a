# ruff: noqa: T201 - the test compares its output
"""Start, watch and stop an instance with the generated client, which is in the import path.

Use: drive.py URL PORT, with the Python of the tools.
"""

import sys

from comfysup_client import Client
from comfysup_client.api.instances import (
    get_instance,
    get_status,
    start_instances,
    stop_instance,
)
from comfysup_client.models import InstanceFields, InstanceView, StartInstancesBody
from comfysup_client.models.phase import Phase


def main(url: str, port: int) -> None:
    with Client(base_url=url, timeout=120.0) as client:
        body = StartInstancesBody(instances=[InstanceFields(id=7, port=port, name="typed")])
        started = start_instances.sync(client=client, body=body)
        print("started", [each.status for each in started.results])

        instance = get_instance.sync("typed", client=client)
        assert isinstance(instance, InstanceView)
        running = instance.state is Phase.RUNNING
        print("running", running, instance.port == port, instance.started_at.tzinfo)

        missing = get_instance.sync("nobody", client=client)
        print("error", missing.code.value)

        stopped = stop_instance.sync("typed", client=client)
        print("stopped", stopped.state.value, stopped.pid)

        status = get_status.sync(client=client)
        print("table", [each.id for each in status.instances])


main(sys.argv[1], int(sys.argv[2]))
