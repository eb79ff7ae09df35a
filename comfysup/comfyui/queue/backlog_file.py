"""A backlog as it is written to disk, so that it outlives the daemon.

Nothing of a prompt that seems to hold a key or token is written but its id.
"""

import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, TypeVar

from comfysup.comfyui.queue.backlog import Backlog
from comfysup.comfyui.queue.prompts import Prompt, RunningPrompt
from comfysup.model.spec import Rescue

T = TypeVar("T")

FORM: Final = 1
"""Increased for people; readers go by the fields that they find."""


def dump(backlog: Backlog, life: str) -> bytes:
    """Return the file of a backlog; `life` says in which life of the container it means something.

    The contents go into it as they are: they are JSON already.
    """
    running = [
        b'{"since":%s,"mark":%s,"prompt":%s}'
        % (_json(each.since), _json(each.mark), _prompt(each.prompt))
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
        "posted": _json(backlog.unconfirmed),
        "ran": _json(sorted(backlog.ran)),
        "struck": _json(sorted(backlog.struck)),
        "told": _json(backlog.told),
        "left": _json(backlog.left),
        "choice": _json(backlog.choice),
        "overdue": _json(backlog.overdue),
        "ended": _json(backlog.ended),
        "silent": _json(backlog.silent),
    }
    return b"{%s}" % b",\n".join(_json(name) + b":" + value for name, value in members.items())


def load(
    written: bytes, life: str, lost: Callable[[str], None] = lambda _what: None
) -> Backlog | None:
    """Return the backlog that `dump` of any version made this of; None for one of another life.

    What this version does not know is ignored, and each prompt is read by itself: `lost` is told of
    those that cannot be. Raises ValueError for a file that does not even say of which life it is.
    """
    try:
        members = json.loads(written)
        if members["life"] != life:
            return None
    except (KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"no backlog: {error!r}") from error

    def each(name: str, read: Callable[[Any], T]) -> tuple[T, ...]:
        return tuple(_readable(members.get(name), name, read, lost))

    pid = members.get("pid")
    return Backlog(
        pid=pid if isinstance(pid, int) else None,
        running=each("running", _running),
        waiting=each("waiting", _read),
        drained=each("drained", _read),
        owed=each("owed", _read),
        unconfirmed=members["posted"] if isinstance(members.get("posted"), str) else None,
        ran=frozenset(each("ran", _text)),
        struck=frozenset(each("struck", _text)),
        told=_number(members.get("told")),
        left=_number(members.get("left")) or 0,
        choice=_choice(members.get("choice")),
        overdue=members.get("overdue") is True,
        ended=members.get("ended") is True,
        silent=members.get("silent") is True,
    )


def _readable(
    items: object, name: str, read: Callable[[Any], T], lost: Callable[[str], None]
) -> Iterator[T]:
    if items is None:
        return
    if not isinstance(items, list):
        lost(name)
        return
    for number, item in enumerate(items):
        try:
            yield read(item)
        except (KeyError, TypeError, ValueError, AttributeError, RecursionError):
            lost(f"{name}[{number}]")


def _running(written: Any) -> RunningPrompt:  # noqa: ANN401 - JSON
    mark = written.get("mark")
    known = mark if isinstance(mark, str) else ""
    return RunningPrompt(_read(written["prompt"]), float(written["since"]), known)


def _text(written: object) -> str:
    if isinstance(written, str):
        return written
    raise TypeError("no text")


def _number(written: object) -> int | None:
    return written if isinstance(written, int) else None


def _choice(written: object) -> Rescue | None:
    return next((each for each in Rescue if each == written), None)


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
    number, prompt_id = written["number"], written["id"]
    if not isinstance(number, int | float) or not isinstance(prompt_id, str):
        raise TypeError("no prompt")
    content, secret = written.get("content"), written.get("secret", True)
    kept = None if content is None else json.dumps(content).encode()
    return Prompt(number, prompt_id, kept, secret=bool(secret))
