"""Which received bytes belong to the next request."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comfysup.api.server.limits import MAX_HEAD_BYTES
from comfysup.api.server.received import Received

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nContent-Length: 5\r\nHost: x\r\n\r\n12345"
CHUNKED = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n"


def received(*pieces: bytes) -> Received:
    one = Received()
    for piece in pieces:
        one.add(piece)
    return one


@given(
    st.lists(st.sampled_from([GET, POST]), max_size=4),
    st.integers(0, len(GET) - 1),
    st.lists(st.integers(0, 200), max_size=5),
)
def test_the_rest_is_the_data_after_the_last_request(
    requests: list[bytes], begun: int, cuts: list[int]
) -> None:
    content = b"".join(requests) + GET[:begun]
    places = [0, *sorted(min(cut, len(content)) for cut in cuts), len(content)]
    pieces = [content[one:other] for one, other in pairwise(places)]

    assert received(*pieces).rest(len(requests)) == GET[:begun]


def test_a_chunked_body_ends_at_its_last_chunk() -> None:
    assert received(CHUNKED).rest(1) == b""
    assert received(GET, CHUNKED).rest(2) == b""


def test_the_rest_after_a_chunked_body_is_unknown() -> None:
    assert received(CHUNKED + GET[:5]).rest(1) is None


def test_a_large_body_is_counted_and_not_kept() -> None:
    size = 3 * MAX_HEAD_BYTES
    head = b"POST / HTTP/1.1\r\ncontent-length:%d\r\n\r\n" % size

    assert received(head, bytes(size)).rest(1) == b""
    assert received(head, bytes(size), b"G").rest(1) is None
    assert received(head, bytes(size - 1)).rest(1) is None


@pytest.mark.parametrize("requests", [0, 1, 2])
def test_nothing_is_left_after_complete_requests(requests: int) -> None:
    assert received().rest(0) == b""
    assert received(GET * requests).rest(requests) == b""
