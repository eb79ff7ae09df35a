"""Random requests and files: a 4xx with a clear text, no instance started, no memory leaked.

COMFYSUP_FUZZ_EXAMPLES sets the number of requests; the default is short.
"""

import asyncio
import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.bodies import (
    CANARY,
    Document,
    mangled,
    nested,
    numbers,
    several,
    twice,
    values,
    written,
)
from tests.fuzz.caller import Caller
from tests.fuzz.requests import Request, requests
from tests.scenarios.harness import Daemon

EXAMPLES = int(os.environ.get("COMFYSUP_FUZZ_EXAMPLES", "300"))
RELOAD = Document(b"POST /api/comfyui/reload HTTP/1.1\r\nHost: localhost\r\n\r\n")

pytestmark = pytest.mark.timeout(60 + EXAMPLES // 5)


def tried(share: float) -> settings:
    """Return settings that run that share of all examples."""
    return settings(
        max_examples=max(1, int(EXAMPLES * share)),
        deadline=None,
        database=None,
        print_blob=True,
        suppress_health_check=list(HealthCheck),
    )


async def test_no_random_request_crashes_the_daemon_or_starts_an_instance(besieged: Daemon) -> None:
    """Scenarios 44 and 45."""
    caller = Caller(besieged.port, besieged.run_dir / "api.sock")

    @tried(0.75)
    @given(requests())
    def send(request: Request) -> None:
        caller.send(request)

    await asyncio.to_thread(send)
    print(sorted(caller.statuses.items()))  # noqa: T201 - what a long run is for
    assert {200, 404, 422} <= caller.statuses.keys()


async def test_no_random_instances_file_crashes_the_daemon_or_starts_an_instance(
    besieged: Daemon,
) -> None:
    """Scenario 49."""
    caller = Caller(besieged.port, besieged.run_dir / "api.sock")
    file = besieged.root / "instances.json"
    texts = st.one_of(
        several.map(written),
        values.map(written),
        mangled(several),
        nested(),
        twice(),
        numbers,
        several.map(lambda value: f"// {CANARY}\n{written(value)} /* end */"),
        st.text(max_size=200),
    )
    encoded = texts.map(lambda text: text.encode("utf-8", "surrogatepass"))

    @tried(0.25)
    @given((encoded | st.binary(max_size=100)).map(Document))
    def reload(text: Document) -> None:
        file.write_bytes(text)
        caller.send(Request(RELOAD, Document(), whole=True, local=True))

    await asyncio.to_thread(reload)
    print(sorted(caller.statuses.items()))  # noqa: T201 - what a long run is for
    assert {200, 422} == caller.statuses.keys()
