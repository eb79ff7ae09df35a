"""Who may come in: one place, which the route table names by `Access`.

A caller over the unix socket is told by the kernel, one over TCP by a bearer token. Where no token
is set, everybody on the network may do everything but set variables (`Caller.proven`), which load
code into any process. A browser brings strangers along: what changes something must come from a
page of our own.
"""

from asyncio.trsock import TransportSocket
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from ipaddress import ip_address
from socket import AddressFamily
from typing import TypeAlias
from urllib.parse import urlsplit

from aiohttp import hdrs, web

from comfysup.api.server.errors import ApiError
from comfysup.config.variables import Token

IsOwner: TypeAlias = Callable[[TransportSocket], bool]
"""Whether, by the kernel's word, root or the daemon's own user is at the other end of a socket."""

SEC_FETCH_SITE = "Sec-Fetch-Site"
CHALLENGE = 'Bearer realm="comfysup"'


class Access(Enum):
    """What a route asks of its callers."""

    OPEN = auto()
    """Nothing: whoever asks whether the daemon lives has no token."""
    READ = auto()
    """The read token, where one is set; the write token will do."""
    FOLLOW = auto()
    """As `READ`, for a stream; and no page of another origin."""
    WRITE = auto()
    """The write token, where one is set; and no page of another origin."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls; `proven` by the write token or by the kernel, so that it may load code.

    `local` says that the call came over the unix socket.
    """

    proven: bool
    local: bool = False


@dataclass(frozen=True, slots=True)
class Admission:
    """What is checked. `allowed_hosts` are names in lower case; none of them: any name will do."""

    is_owner: IsOwner
    token: Token | None = None
    read_token: Token | None = None
    allowed_hosts: frozenset[str] = frozenset()


def admit(request: web.Request, access: Access, admission: Admission) -> Caller:
    """Return who calls, or refuse by an `ApiError`; the texts never show what was sent."""
    socket = request.get_extra_info("socket")
    if socket is not None and socket.family == AddressFamily.AF_UNIX:
        return _admit_local(socket, admission)
    if access is Access.OPEN:
        return Caller(proven=False)
    _check_host(request, admission)
    if access in (Access.WRITE, Access.FOLLOW):
        _check_origin(request, admission)
    return _check_token(request, access, admission)


def _admit_local(socket: TransportSocket, admission: Admission) -> Caller:
    if not admission.is_owner(socket):
        raise ApiError(403, "forbidden", "this socket is for root and the user of comfysup only")
    return Caller(proven=True, local=True)


def _check_host(request: web.Request, admission: Admission) -> None:
    """Refuse a name that is not ours: one that a stranger lets point to us (DNS rebinding)."""
    if not admission.allowed_hosts:
        return
    host = _hostname(request.headers.get(hdrs.HOST, ""))
    if host not in admission.allowed_hosts and not _cannot_be_rebound(host):
        raise ApiError(403, "forbidden_host", "this host is not in COMFYSUP_ALLOWED_HOSTS")


def _check_origin(request: web.Request, admission: Admission) -> None:
    """Refuse pages of other sites; programs, which are no browsers, name no site."""
    site = request.headers.get(SEC_FETCH_SITE, "none").lower()
    origin = request.headers.get(hdrs.ORIGIN)
    if origin is None and site in ("none", "same-origin"):
        return
    address = (origin or "").partition("://")[2].lower()
    host = _hostname(address)
    if host and host in admission.allowed_hosts:
        return
    own = address == request.headers.get(hdrs.HOST, "").lower() and site != "cross-site"
    if not host or not own:
        raise ApiError(403, "forbidden_origin", "cross-origin request refused")
    if admission.token is None and not _cannot_be_rebound(host):
        raise ApiError(
            403,
            "forbidden_origin",
            "cross-origin request refused: add this host to COMFYSUP_ALLOWED_HOSTS, "
            "or set COMFYSUP_TOKEN",
        )


def _check_token(request: web.Request, access: Access, admission: Admission) -> Caller:
    if admission.token is None and admission.read_token is None:
        return Caller(proven=False)
    scheme, _, given = request.headers.get(hdrs.AUTHORIZATION, "").partition(" ")
    given = given.strip() if scheme.lower() == "bearer" else ""
    writes = admission.token is not None and admission.token.matches(given)
    reads = admission.read_token is not None and admission.read_token.matches(given)
    if not (writes or reads):
        raise ApiError(
            401,
            "unauthorized",
            "the token is invalid" if given else "a bearer token is required",
            {hdrs.WWW_AUTHENTICATE: CHALLENGE + (', error="invalid_token"' if given else "")},
        )
    if access is Access.WRITE and not writes:
        raise ApiError(403, "forbidden", "the read token does not permit changes")
    return Caller(proven=writes)


def _hostname(address: str) -> str:
    try:
        return (urlsplit(f"//{address}").hostname or "").lower()
    except ValueError:
        return ""


def _cannot_be_rebound(host: str) -> bool:
    """Whether no stranger can make this host point elsewhere: an address, or a local name."""
    try:
        ip_address(host)
    except ValueError:
        return host != "" and "." not in host
    return True
