"""A backlog as it is written to disk, so that it outlives the daemon.

Nothing of a prompt that seems to hold a key or token is written but its id.
"""

import json
from collections.abc import Iterable
from typing import Any

from comfysup.comfyui.backlog import Backlog, Running
from comfysup.comfyui.prompts import Prompt

FORM = 1


def dump(backlog: Backlog, life: str) -> bytes:
    """Return the file of a backlog; `life` says in which life of the container it means something.

    The contents go into it as they are: they are JSON already.
    """
    running = [
        b'{"since":%s,"prompt":%s}' % (_json(each.since), _prompt(each.prompt))
        for each in backlog.running
    ]
    members = {
        "form": _json(FORM),
        "life": _json(life),
        "pid": _json(backlog.pid),
        "running": _list(running),
        "waiting": _list(map(_prompt, backlog.waiting)),
        "drained": _list(map(_prompt, backlog.drained)),
        "owed": _list(map(_prompt, backlog.owed)),
        "struck": _json(sorted(backlog.struck)),
    }
    return b"{%s}" % b",\n".join(_json(name) + b":" + value for name, value in members.items())


def load(written: bytes, life: str) -> Backlog | None:
    """Return the backlog that `dump` made this of; None for one of another life.

    ValueError for anything else.
    """
    try:
        members = json.loads(written)
        if members["form"] != FORM:
            raise ValueError(f"a backlog of form {members['form']!r}")
        if members["life"] != life:
            return None
        return Backlog(
            pid=members["pid"],
            running=tuple(
                Running(_read(each["prompt"]), float(each["since"])) for each in members["running"]
            ),
            waiting=tuple(map(_read, members["waiting"])),
            drained=tuple(map(_read, members["drained"])),
            owed=tuple(map(_read, members["owed"])),
            struck=frozenset(members["struck"]),
        )
    except (KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"no backlog: {error!r}") from error


def _json(value: object) -> bytes:
    return json.dumps(value).encode()


def _list(items: Iterable[bytes]) -> bytes:
    return b"[%s]" % b",\n".join(items)


def _prompt(prompt: Prompt) -> bytes:
    keep = prompt.content is not None and not prompt.secret
    content = prompt.content if keep and prompt.content else b"null"
    head = (_json(prompt.number), _json(prompt.id), _json(prompt.secret), content)
    return b'{"number":%s,"id":%s,"secret":%s,"content":%s}' % head


def _read(written: Any) -> Prompt:  # noqa: ANN401 - JSON
    number, prompt_id, secret = written["number"], written["id"], written["secret"]
    if not isinstance(number, int | float) or not isinstance(prompt_id, str):
        raise TypeError("no prompt")
    content = written["content"]
    kept = None if content is None else json.dumps(content).encode()
    return Prompt(number, prompt_id, kept, secret=bool(secret))
