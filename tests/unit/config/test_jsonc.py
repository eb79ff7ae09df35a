"""The parser of JSON with comments."""

import json

from hypothesis import given
from hypothesis import strategies as st

from comfysup.config.jsonc import JsonSyntaxError, parse


@given(st.text(st.sampled_from('{}[]",:/* \n\\ab01-.eE')) | st.text())
def test_random_text_raises_only_the_documented_error(text: str) -> None:
    try:
        offset = parse(text).values[()]
    except JsonSyntaxError as error:
        offset = error.offset

    assert 0 <= offset <= len(text)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=20,
    )
)
def test_plain_json_is_parsed_as_by_the_standard_library(value: object) -> None:
    try:
        text = json.dumps(value, indent=1, allow_nan=False)
    except ValueError:
        return

    assert parse(text).value == json.loads(text)
