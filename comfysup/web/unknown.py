"""Telling callers which of their words nobody knows, within bounds.

The nearest known word is looked for by a slow comparison, and a stranger may send thousands.
"""

from collections.abc import Iterable, Mapping
from itertools import islice

from pydantic import BaseModel

from comfysup.fields.problems import quoted, unknown_keys

MAX_UNKNOWN = 20
"""Words that one answer names."""


def unknown_in(
    written: Iterable[Mapping[str, object]], model: type[BaseModel], what: str = "field"
) -> list[str]:
    """Return a sentence for each key that `model` does not have, the first `MAX_UNKNOWN` of them.

    Each reads `unknown field 'gpus': did you mean 'gpu'?`, without the hint where nothing is near.
    """
    known = model.model_fields
    foreign = (key for mapping in written for key in mapping if key not in known)
    some = dict.fromkeys(islice(foreign, MAX_UNKNOWN))
    hints = unknown_keys(some, known)
    return [f"unknown {what} {quoted(key)}{hint}" for key, hint in hints.items()]
