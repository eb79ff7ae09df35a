"""`Expect`, which aiohttp deals with before any middleware, and refuses in a form of its own."""

from aiohttp import HttpVersion11, hdrs, web

from comfysup.fields.problems import quoted
from comfysup.web.answers import json_answer
from comfysup.web.errors import ErrorView


async def answer_expectation(request: web.Request) -> web.Response | None:
    """Tell a caller that asks first to go on; any other expectation is a 417."""
    expected = request.headers.get(hdrs.EXPECT, "")
    if request.version != HttpVersion11:
        return None
    if expected.lower() != "100-continue":
        detail = f"cannot meet the expectation {quoted(expected)}"
        return json_answer(ErrorView(detail, "expectation_failed"), 417)
    await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    request.writer.output_size = 0  # as aiohttp does: nothing of the answer has been sent yet
    return None
