"""Random JSON: almost valid, invalid in any place, and not JSON."""

import json
import reprlib
from typing import Any

from hypothesis import strategies as st
from typing_extensions import override

from comfysup.config.instance_fields import InstanceFields


class Document(bytes):
    """Bytes of any size; reports show only some of them."""

    @override
    def __repr__(self) -> str:
        return f"<{len(self)} bytes: {reprlib.repr(bytes(self[:200]))}>"


CANARY = "comfysup-canary"
"""A file that exists where anything of a request was run by a shell."""

PRESENT = "present"
"""The one environment that there is. No strategy names it, but many write something near it."""

INJECTIONS = [
    f"$(touch {CANARY})",
    f"`touch {CANARY}`",
    f"; touch {CANARY}",
    f"a;touch {CANARY};",
    f"| touch {CANARY}",
    f"&& touch {CANARY} &&",
    f"\ntouch {CANARY}\n",
    f"'; touch {CANARY}; '",
    f'"; touch {CANARY}; "',
    f"--x=$(touch {CANARY})",
    "'unclosed",
    '"unclosed',
    "ends in a backslash\\",
    "\0",
    "\ud800",
    "{{7*7}}",
    "%s%n%d",
    "--port 1",
    "--listen=::",
    "--po 1",
]
NEARLY_PRESENT = [
    f"../ComfyUI-{PRESENT}",
    f"./{PRESENT}",
    f"{PRESENT}/",
    f"{PRESENT};id",
    f"{PRESENT}\n",
    f"{PRESENT}\0",
    f" {PRESENT}",
    f"x/../ComfyUI-{PRESENT}",
    f"ComfyUI-{PRESENT}",
    PRESENT.upper(),
]
ENVIRONMENTS = [*NEARLY_PRESENT, "absent", "../x", "a;b", "$(id)", "", "..", "x" * 10_000, "-rf"]

texts = st.one_of(st.sampled_from(INJECTIONS), st.text(max_size=80), st.just("x" * 70_000))
scalars: st.SearchStrategy[Any] = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 70_000),
    st.integers(),
    st.floats(),
    texts,
)
values: st.SearchStrategy[Any] = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=5), st.dictionaries(st.text(max_size=20), inner, max_size=5)
    ),
    max_leaves=20,
)

_PLAUSIBLE: dict[str, st.SearchStrategy[Any]] = {
    "id": st.integers(0, 20),
    "port": st.integers(3001, 3020),
    "name": st.sampled_from(["a", "b", "größe", "1", "x" * 64]),
    "environment": st.sampled_from(ENVIRONMENTS),
    "extra_args": st.one_of(texts, st.lists(texts, max_size=4)),
    "env": st.dictionaries(st.sampled_from(["A", "LD_PRELOAD", "COMFYSUP_TOKEN"]) | texts, texts),
    "gpu": st.sampled_from(["auto", 0, "0,1", "-1", "0;id"]),
}


@st.composite
def instances(draw: st.DrawFn) -> dict[str, Any]:
    """One instance with valid, invalid and unknown fields."""
    names = draw(st.lists(st.sampled_from(sorted(InstanceFields.model_fields)), max_size=8))
    fields = {name: draw(st.one_of(_PLAUSIBLE.get(name, values), values)) for name in names}
    unknown = draw(st.dictionaries(texts, values, max_size=2))
    return {**unknown, "id": draw(_PLAUSIBLE["id"]), **fields}


several = st.builds(
    lambda environment, each, more: {"instances": each, **environment, **more},
    st.one_of(st.just({}), st.fixed_dictionaries({"environment": _PLAUSIBLE["environment"]})),
    st.lists(instances(), max_size=5) | values,
    st.dictionaries(texts, values, max_size=2),
)
"""What `start-instances` and instances.json hold."""


def written(value: object) -> str:
    """JSON as Python writes it, NaN included."""
    return json.dumps(value)


@st.composite
def mangled(draw: st.DrawFn, source: st.SearchStrategy[Any]) -> str:
    """JSON with a part missing, repeated or replaced."""
    text = written(draw(source))
    begin = draw(st.integers(0, len(text)))
    end = draw(st.integers(begin, min(len(text), begin + 10)))
    put = draw(st.sampled_from(["", text[begin:end] * 2, "NaN", "/*", "//", ",", '"', "\\", "\0"]))
    return text[:begin] + put + text[end:]


@st.composite
def nested(draw: st.DrawFn) -> str:
    depth = draw(st.sampled_from([10, 32, 33, 1_000, 10_000, 200_000]))
    opening, closing = draw(st.sampled_from([("[", "]"), ('{"id":', "}"), ('[{"a":', "}]")]))
    return opening * depth + "1" + closing * draw(st.sampled_from([depth, 0]))


@st.composite
def twice(draw: st.DrawFn) -> str:
    """An object with a duplicate key."""
    text = written({"environment": "absent", **draw(instances())})
    return text[:-1] + ', "environment": "absent"}'


huge = st.builds(
    lambda field, size: f'{{"id": 0, "environment": "absent", "{field}": "{"x" * size}"}}',
    st.sampled_from(["name", "description", "environment", "extra_args", "unknown"]),
    st.sampled_from([1_000, 100_000, 1_000_000, 3_000_000]),
)
numbers = st.builds(
    lambda number: f'{{"environment": "absent", "id": {number}}}',
    st.sampled_from(["NaN", "-Infinity", "1e999", "9" * 5_000, "0x1", "01", "1.0", "-0", "1e0"]),
)
documents = st.one_of(
    st.one_of(instances(), several, values).map(written),
    mangled(st.one_of(instances(), several)),
    nested(),
    twice(),
    huge,
    numbers,
    st.text(max_size=200),
)


@st.composite
def encoded(draw: st.DrawFn) -> Document:
    """A document in some encoding, which may be invalid."""
    encoding = draw(
        st.sampled_from(["utf-8"] * 6 + ["utf-8-sig", "utf-16", "utf-32-le", "latin-1", "cp037"])
    )
    errors = "surrogatepass" if encoding.startswith("utf") else "replace"
    return Document(draw(documents).encode(encoding, errors))


bodies = st.one_of(encoded(), encoded(), encoded(), st.binary(max_size=200).map(Document))
