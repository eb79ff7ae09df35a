"""Secrets: tokens and values of `env` reach only their users and appear in no output."""

import json
import os
import stat
from pathlib import Path
from typing import Any

import aiohttp

from tests.scenarios.client import API
from tests.scenarios.harness import Daemon
from tests.scenarios.programs import SERVE, Program
from tests.scenarios.waiting import until_async

WRITE = "wr1te-s3cret"
READ = "r3ad-s3cret"
VALUE = "hf-s3cret"
OF_FILE = "file-s3cret"
INHERITED = "inherited-s3cret"
"""Of the daemon's environment, as the operator gave it to every instance."""
SECRETS = (WRITE, READ, VALUE, OF_FILE, INHERITED)
SHOWN = (
    "status",
    "instances",
    "instances/1",
    "instances/3",
    "instances/1/logs",
    "daemon",
    "environments",
)


def shown_in(text: str) -> list[str]:
    return [secret for secret in SECRETS if secret in text]


def of_process(pid: int, what: str) -> str:
    return Path(f"/proc/{pid}/{what}").read_text(errors="replace")


class Listener:
    """A client of a daemon over TCP that records all responses."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session
        self.heard: list[str] = []

    async def ask(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        async with self._session.request(method, path, json=body) as answer:
            text = await answer.text()
            self.heard += [text, repr(answer.headers)]
        return answer.status, text

    async def listen(self, stream: aiohttp.ClientResponse, last: str) -> None:
        """Read until `last`."""
        text = ""

        async def has_come() -> bool:
            nonlocal text
            text += (await stream.content.readany()).decode()
            return last in text

        await until_async(has_come)
        self.heard.append(text)


async def test_secrets_stay_where_they_belong(daemon: Daemon) -> None:
    """Scenario 46, and the same for values of `env`."""
    Program(daemon.workspace)
    await daemon.start(variables=secret_settings(daemon))
    ports = [daemon.ports.reserve() for _ in range(3)]
    one = {"id": 1, "port": ports[0], "env": {"HF_TOKEN": VALUE}}
    headers = {"Authorization": f"Bearer {WRITE}"}
    async with (
        aiohttp.ClientSession(f"http://127.0.0.1:{daemon.port}", headers=headers) as session,
        session.get(f"{API}/events") as events,
    ):
        caller = Listener(session)
        assert (await caller.ask("POST", f"{API}/start-single", one))[0] == 200
        await say_everything_wrong(caller, one)
        await reload_wrong_and_right(daemon, caller, ports[1:])
        pids = {each: (await daemon.api.until(each, state="running"))["pid"] for each in (1, 2, 3)}
        for path in SHOWN:
            assert (await caller.ask("GET", f"{API}/{path}"))[0] == 200
        environs = {each: shown_in(of_process(pid, "environ")) for each, pid in pids.items()}
        await caller.ask("POST", f"{API}/instances/1/restart")
        await caller.ask("POST", f"{API}/instances/3/stop")
        await caller.listen(events, "instance.stopped")

    assert shown_in("\n".join(caller.heard)) == []
    assert shown_in((daemon.root / "daemon.log").read_text()) == []
    assert shown_in(of_process(daemon.pid, "cmdline")) == []
    assert environs == {1: [VALUE, INHERITED], 2: [INHERITED], 3: [OF_FILE, INHERITED]}


def secret_settings(daemon: Daemon) -> dict[str, str]:
    token = daemon.root / "token"
    token.write_text(f"{WRITE}\n")
    return {
        "COMFYSUP_TOKEN_FILE": str(token),
        "COMFYSUP_READ_TOKEN": READ,
        "AWS_SECRET_ACCESS_KEY": INHERITED,
    }


async def reload_wrong_and_right(daemon: Daemon, caller: Listener, ports: list[int]) -> None:
    """Write errors into instances.json around its secrets, then a valid file."""
    file = daemon.root / "instances.json"
    good = [
        {"id": 2, "port": ports[0]},
        {"id": 3, "port": ports[1], "env": {"KEY": OF_FILE}},
    ]
    wrong = {"id": 4, "env": {"KEY": OF_FILE, "A=B": OF_FILE, "C": [OF_FILE]}, "gpuu": 0}
    file.write_text(json.dumps({"instances": [*good, wrong, good[1]]}))
    status, text = await caller.ask("POST", f"{API}/reload")
    assert '"mistakes": [{' in text, status
    file.write_text(json.dumps({"instances": good}) + f'"{OF_FILE}')
    assert (await caller.ask("POST", f"{API}/reload"))[0] == 422
    file.write_text(json.dumps({"instances": good}))
    assert (await caller.ask("POST", f"{API}/reload"))[0] == 200


async def say_everything_wrong(caller: Listener, one: dict[str, Any]) -> None:
    """Cause each kind of error whose request contains a secret."""
    wrong = [
        {**one, "env": {"HF_TOKEN": [VALUE]}},
        {**one, "env": {"HF_TOKEN": f"{VALUE}\0"}},
        {**one, "env": {"COMFYSUP_TOKEN": VALUE}},
        {**one, "env": VALUE},
        {**one, "env": {"HF_TOKEN": VALUE * 2}},
        {**one, "id": 5, "env": {"HF_TOKEN": VALUE}},
        {**one, "id": 6, "environment": "absent"},
    ]
    for body in wrong:
        status, text = await caller.ask("POST", f"{API}/start-single", body)
        assert 400 <= status < 500, text
        await caller.ask("POST", f"{API}/start-instances", {"instances": [body]})
    for token in (f"{WRITE}x", READ, VALUE):
        async with caller._session.post(
            f"{API}/stop-all", headers={"Authorization": f"Bearer {token}"}
        ) as answer:
            caller.heard.append(await answer.text())
            assert answer.status in (401, 403)


async def test_files_of_the_daemon_are_readable_only_by_its_user(daemon: Daemon) -> None:
    Program(daemon.workspace, script=SERVE)
    port = daemon.ports.reserve()
    mask = os.umask(0)
    try:
        await daemon.start()
    finally:
        os.umask(mask)
    await daemon.api.start(0, port, env={"HF_TOKEN": VALUE})

    holding = [each for each in daemon.run_dir.rglob("*") if not each.is_symlink()]
    assert holding
    open_to_others = {
        str(each.relative_to(daemon.run_dir)): oct(stat.S_IMODE(each.stat().st_mode))
        for each in (daemon.run_dir, *holding)
        if each.stat().st_mode & 0o077
    }
    assert open_to_others == {}
