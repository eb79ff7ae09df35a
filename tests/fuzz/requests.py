"""Random requests: routes, paths, queries and headers, some of them attacks."""

from dataclasses import dataclass
from urllib.parse import quote

from hypothesis import strategies as st

from comfysup.api.routes.table import ROUTES
from tests.fuzz.bodies import ENVIRONMENTS, INJECTIONS, Document, bodies

REFS = [
    "0",
    "1",
    "a",
    "absent",
    "..",
    "%2e%2e%2f",
    "%00",
    "%ff",
    "a%0d%0ab",
    "{x}",
    "-1",
    "9" * 400,
]
TARGETS = [
    (route.method, route.path.replace("{ref:[^/]+}", "{}"))
    for route in ROUTES
    if not route.path.endswith("/daemon/restart")  # which does restart it
]
STARTS = [("POST", "/api/comfyui/start-single"), ("POST", "/api/comfyui/start-instances")]
STRAY_PATHS = ["/", "/api/comfyui/", "//livez", "/livez/..%2f", "/static/../../etc/passwd", "*"]


@dataclass(frozen=True)
class Request:
    """Bytes to send. With `whole` they are one valid HTTP request, which must be answered."""

    head: Document
    body: Document
    whole: bool
    local: bool


@st.composite
def _paths(draw: st.DrawFn, template: str) -> str:
    ref = draw(st.one_of(st.sampled_from(REFS), st.text(min_size=1, max_size=20).map(_quoted)))
    return template.replace("{}", ref)


_values = st.one_of(
    st.sampled_from(["0", "0.01", "-1", "nan", "inf", "1e9", "spawn", "ready", "true", "", "1"]),
    st.sampled_from([*ENVIRONMENTS, *INJECTIONS]),
    st.text(max_size=30),
)
_names = st.one_of(
    st.sampled_from(["wait", "timeout", "environment", "drain", "lines", "follow", "name"]),
    st.text(max_size=10),
)


@st.composite
def _queries(draw: st.DrawFn) -> str:
    pairs = draw(st.lists(st.tuples(_names, _values), max_size=3))
    return "&".join(f"{_quoted(name)}={_quoted(value)}" for name, value in pairs)


def _quoted(text: str) -> str:
    return quote(text, safe="", errors="surrogatepass")


HARMLESS = [
    (b"Accept", b"text/event-stream"),
    (b"Accept", b"\xff"),
    (b"Authorization", b"Bearer x"),
    (b"Authorization", b"Bearer \xff\xfe"),
    (b"Authorization", b"Basic Og=="),
    (b"Cookie", b"a=b; " * 100),
    (b"Content-Encoding", b"gzip"),
    (b"Content-Encoding", b"br, deflate"),
    (b"Last-Event-ID", b"9" * 30),
    (b"Last-Event-ID", b"-1"),
    (b"Origin", b"http://evil.example"),
    (b"Origin", b"null"),
    (b"Referer", b"http://[::1"),
    (b"Sec-Fetch-Site", b"cross-site"),
    (b"X-Forwarded-For", b"127.0.0.1"),
    (b"X-HTTP-Method-Override", b"DELETE"),
    (b"X-Large", b"x" * 8_000),
    (b"Range", b"bytes=5-1"),
]
TRICKS = [
    (b"Content-Length", b"5"),
    (b"Content-Length", b"-1"),
    (b"Content-Length", b"99999999999999999999"),
    (b"Content-Length", b"0x10"),
    (b"Transfer-Encoding", b"chunked"),
    (b"Transfer-Encoding", b"gzip, chunked"),
    (b"Transfer-Encoding", b"identity"),
    (b"Expect", b"100-continue"),
    (b"Expect", b"200-never"),
    (b"Upgrade", b"websocket"),
    (b"Connection", b"Upgrade"),
    (b"Connection", b"close"),
    (b"Host", b""),
    (b"Host", b"a b"),
    (b"X-Huge", b"x" * 70_000),
    (b" Folded", b"x"),
    (b"No Name", b"x"),
    (b"Name\0", b"\0"),
    (b"X-Split", b"a\r\nContent-Length: 0\r\n\r\nGET /livez HTTP/1.1\r\n\r\n"),
]
KINDS = [b"application/json"] * 8 + [
    b"text/plain",
    b"application/json; charset=utf-7",
    b"",
    b"\xff",
]
VERSIONS = [b"HTTP/1.1", b"HTTP/1.0", b"HTTP/2.0", b"HTTP/9", b"", b"http/1.1"]


@st.composite
def requests(draw: st.DrawFn) -> Request:
    targets = st.sampled_from(TARGETS) | st.sampled_from(STARTS) | st.sampled_from(STARTS)
    method, template = draw(targets)
    path = draw(_paths(template))
    if query := draw(st.just("") | _queries()):
        path += f"?{query}"
    body = draw(bodies) if method == "POST" else Document()
    headers = [(b"Host", b"127.0.0.1"), (b"Content-Type", draw(st.sampled_from(KINDS)))]
    headers += draw(st.lists(st.sampled_from(HARMLESS), max_size=2))
    version = VERSIONS[0]
    whole = draw(st.integers(0, 3)) > 0
    headers.append((b"Content-Length", b"%d" % len(body)))
    if not whole:
        headers += draw(st.lists(st.sampled_from(TRICKS), max_size=3))
        headers = draw(st.permutations(headers))[draw(st.integers(0, 1)) :]
        version = draw(st.sampled_from(VERSIONS))
        path = draw(st.sampled_from([path, path, *STRAY_PATHS]) | st.text(max_size=20))
        method = draw(st.sampled_from([method, method, "PUT", "TRACE", "CONNECT", "get", "", "\0"]))
    line = b" ".join((method.encode(), path.encode("utf-8", "surrogatepass"), version))
    head = b"\r\n".join((line, *(b"%s: %s" % each for each in headers))) + b"\r\n\r\n"
    return Request(Document(head), body, whole, draw(st.booleans()))
