"""The queue of one ComfyUI as `GET /queue` tells it: which prompts run, which wait, in what order.

An entry is `[number, prompt_id, prompt, extra_data, outputs_to_execute]`, followed by more in newer
versions. What waits comes in the order of ComfyUI's heap; it is executed by number, then by id.
"""

import json
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final, TypeAlias

from typing_extensions import TypeIs

Key: TypeAlias = tuple[float, str]

_DECODER = json.JSONDecoder()
_SPACE = re.compile(r"\s*")
_LISTS = ("queue_running", "queue_pending")
_MIN_ITEMS = 5
MAX_ID_CHARS: Final = 1_024
"""The longest id of a prompt that is kept: answers, events, the log and the state file hold ids."""
CREDENTIALS = ("auth_token_comfy_org", "api_key_comfy_org")
"""The members of `extra_data` with the keys of a Comfy account."""

_SECRET_NAME = re.compile(
    r"(api|auth|access|secret|private|session)[-_ ]?(key|token)"
    r"|(^|[-_])(token|secret|password|passwd|credentials?|authorization|bearer)$",
    re.IGNORECASE,
)
"""Names under which people and nodes write keys: `api_key_comfy_org`, `hf_token`, `apiKey`."""
_SECRET_VALUE = re.compile(
    r"(Bearer |sk-|hf_|ghp_|gho_|github_pat_|glpat-|AIza|AKIA|comfyui-|r8_|xox[bp]-|eyJ)"
    r"[\w.+/=-]{16,}"
)
"""How the keys and tokens of well-known services begin."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """One entry of a queue.

    `content` is the entry as ComfyUI wrote it, in JSON; None where it is not kept. `secret` says
    that it seems to hold a key or a token.
    """

    number: float
    id: str
    content: bytes | None
    secret: bool = False

    @property
    def key(self) -> Key:
        """The sort key of ComfyUI's queue; one id may occur twice."""
        return (self.number, self.id)

    @property
    def size(self) -> int:
        """Bytes needed to keep the prompt."""
        return len(self.content or b"")


@dataclass(frozen=True, slots=True)
class RunningPrompt:
    """A prompt that is being worked on; `since` is wall-clock seconds.

    `mark` is where the output of its process ended at a moment at which it ran; empty while that is
    not known.
    """

    prompt: Prompt
    since: float
    mark: str = ""

    @property
    def id(self) -> str:
        return self.prompt.id


def in_order(prompts: Iterable[Prompt]) -> tuple[Prompt, ...]:
    """Return prompts in the order in which ComfyUI executes them."""
    return tuple(sorted(prompts, key=lambda each: each.key))


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A queue at one moment; `waiting` is in the order of execution."""

    running: tuple[Prompt, ...]
    waiting: tuple[Prompt, ...]

    def changes_since(self, before: "Snapshot") -> int:
        """Return how many changes at least led here: prompts that came, began or left."""
        ran, runs = ({each.key for each in shot.running} for shot in (before, self))
        had, has = ({each.key for each in (*s.running, *s.waiting)} for s in (before, self))
        return len(had ^ has) + len(runs - ran)


NO_QUEUE: Final = "GET /queue did not return a queue"
"""How the reason of an answer that cannot be read begins."""


def parse_queue(body: bytes, known: Mapping[Key, Prompt]) -> Snapshot:
    """Return the queue that the answer to `GET /queue` shows.

    What is `known` with its content is taken from there. ValueError for what is no such answer.
    It reads entry by entry, so that in a thread no other one waits for it longer than a moment.
    """
    lists: dict[str, tuple[Prompt, ...]] = {}
    try:
        reader = _Reader(body.decode())
        for _ in reader.items("{", "}"):
            name = reader.value()
            reader.sign(":")
            if name not in _LISTS:
                reader.value()
                continue
            lists[name] = tuple(_prompt(*reader.entry(), known) for _ in reader.items("[", "]"))
    except UnicodeDecodeError as error:
        raise ValueError(f"{NO_QUEUE}: not UTF-8") from error
    except IndexError as error:
        raise ValueError(f"{NO_QUEUE}: it ends too early") from error
    except RecursionError as error:
        raise ValueError(f"{NO_QUEUE}: it is nested too deep") from error
    except TypeError as error:
        raise ValueError(f"{NO_QUEUE}: an entry has an unexpected form") from error
    except json.JSONDecodeError as error:
        raise ValueError(f"{NO_QUEUE}: {error}") from error
    if missing := [name for name in _LISTS if name not in lists]:
        raise ValueError(f"{NO_QUEUE}: it has no {missing[0]}")
    running, waiting = (lists[name] for name in _LISTS)
    return Snapshot(running, tuple(sorted(waiting, key=lambda each: each.key)))


class _Reader:
    """Reads a JSON text piece by piece; IndexError at its end."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._place = 0

    def items(self, opening: str, closing: str) -> Iterator[None]:
        """Stand before each item of a list or object in turn; the caller reads it."""
        self.sign(opening)
        while self._next() != closing:
            yield
            if self._next() != closing:
                self.sign(",")
        self.sign(closing)

    def sign(self, sign: str) -> None:
        if self._next() != sign:
            raise ValueError(f"{NO_QUEUE}: no {sign} at {self._place}")
        self._place += 1

    def value(self) -> Any:  # noqa: ANN401 - whatever JSON can say
        self._next()
        value, self._place = _DECODER.raw_decode(self._text, self._place)
        return value

    def entry(self) -> tuple[Any, str]:
        """Return a value, and the text that it was read from."""
        self._next()
        start = self._place
        return self.value(), self._text[start : self._place]

    def _next(self) -> str:
        if space := _SPACE.match(self._text, self._place):
            self._place = space.end()
        return self._text[self._place]


def _prompt(entry: Any, text: str, known: Mapping[Key, Prompt]) -> Prompt:  # noqa: ANN401 - JSON
    if not isinstance(entry, list) or len(entry) < _MIN_ITEMS or not is_number(entry[0]):
        raise ValueError(f"{NO_QUEUE}: an entry has an unexpected form")
    number, prompt_id = entry[0], entry[1]
    before = known.get((number, prompt_id))
    if before is not None and before.content is not None:
        return before
    name = str(prompt_id)
    if len(name) > MAX_ID_CHARS:
        return Prompt(number, _shortened_id(name), None)
    secret = holds_secret(entry[2]) or holds_secret(entry[3])
    return Prompt(number, name, text.encode(), secret)


def _shortened_id(prompt_id: str) -> str:
    """Return the beginning of an id, with a digest that tells it from others of that beginning."""
    digest = sha256(prompt_id.encode(errors="surrogatepass")).hexdigest()
    return f"{prompt_id[:64]}…{digest}"


def is_number(value: object) -> TypeIs[int | float]:
    """Say whether that is a number by which prompts can be ordered: NaN and Infinity are none."""
    return isinstance(value, int | float) and abs(value) <= sys.float_info.max


def holds_secret(value: object) -> bool:
    """Return whether JSON seems to hold a key or token, by a member's name or a value's form."""
    match value:
        case dict():
            return any(
                (isinstance(item, str) and item != "" and bool(_SECRET_NAME.search(name)))
                or holds_secret(item)
                for name, item in value.items()
            )
        case list():
            return any(holds_secret(item) for item in value)
        case str():
            return _SECRET_VALUE.match(value) is not None
        case _:
            return False


def classes_without_credentials(prompt: Prompt) -> frozenset[str]:
    """Return the classes of its nodes, unless the keys of a Comfy account are seen in it.

    ComfyUI keeps such keys, from 0.3.67 on, where no route shows them: a prompt of which no keys
    are seen may have had some, if a node of it takes them. ValueError as `submission_body`.
    """
    _, _, graph, extra_data, *_ = json.loads(prompt.content or b"[]")
    if not isinstance(graph, dict) or not isinstance(extra_data, dict):
        return frozenset()
    if any(extra_data.get(name) for name in CREDENTIALS):
        return frozenset()
    nodes = (node for node in graph.values() if isinstance(node, dict))
    return frozenset(str(node.get("class_type")) for node in nodes)


def submission_body(prompt: Prompt) -> dict[str, object]:
    """Return what to POST to /prompt to have it run again as it was, behind all that waits.

    ValueError for an entry of another form than ComfyUI's.
    """
    _, prompt_id, graph, extra_data, outputs, *_ = json.loads(prompt.content or b"[]")
    body = {
        "prompt": graph,
        "prompt_id": prompt_id,
        "extra_data": extra_data,
        "partial_execution_targets": outputs,
    }
    if not isinstance(extra_data, dict):
        raise ValueError("its extra_data is no object")  # noqa: TRY004 - as for all that is no entry
    client = extra_data.get("client_id")
    return body if client is None else body | {"client_id": client}
