"""What the answers and messages of a ComfyUI say, read from their JSON."""

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

CREDENTIALS: Final = ("AUTH_TOKEN_COMFY_ORG", "API_KEY_COMFY_ORG")
"""The kinds of hidden inputs by which a node is given the keys of a Comfy account."""

LONGEST_REFUSAL: Final = 300
"""Characters of what ComfyUI says about a prompt that it refuses."""


def object_in(body: bytes) -> Mapping[str, Any] | None:
    """Return the object that a body shows as JSON; None for anything else."""
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return answer if isinstance(answer, dict) else None


def queue_remaining(message: str) -> int | None:
    """Return how many prompts run or wait, as a message of `/ws` says; None for another message."""
    try:
        match json.loads(message):
            case {"type": "status", "data": {"status": {"exec_info": {"queue_remaining": int(n)}}}}:
                return n
            case _:
                return None
    except (ValueError, RecursionError):
        return None


def failure_in(entry: object) -> str:
    """Return what a node raised in an entry of the history; empty where none did."""
    match entry:
        case {"status": {"messages": list(messages)}}:
            return next(filter(None, map(_raised, messages)), "")
        case _:
            return ""


def takes_credentials(node: object) -> bool:
    """Return whether a node of `/object_info` is given the keys of a Comfy account."""
    match node:
        case {"input": {"hidden": dict(hidden)}}:
            return any(kind in CREDENTIALS for kind in _flat(hidden.values()))
        case _:
            return False


def refusal_in(answer: Mapping[str, Any], status: int) -> str:
    """Return why ComfyUI refuses a prompt, by its answer to `POST /prompt`."""
    match answer.get("error"):
        case {"message": str(message), "details": str(details)} if details:
            return f"{message}: {details}"[:LONGEST_REFUSAL]
        case {"message": str(message)}:
            return message[:LONGEST_REFUSAL]
        case _:
            return f"it responded with status {status}"


def _raised(message: object) -> str:
    match message:
        case ["execution_error", {"exception_message": str(text)}]:
            return text
        case _:
            return ""


def _flat(kinds: Iterable[object]) -> Iterator[object]:
    """Yield the kinds of hidden inputs: texts, or lists of one, by the age of the node."""
    for kind in kinds:
        if isinstance(kind, list):
            yield from kind
        else:
            yield kind
