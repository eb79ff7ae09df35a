"""Access control: admission of callers by the `Access` of each route.

The kernel identifies callers over the unix socket; a bearer token identifies callers over TCP. If
no token is set, every caller on the network may do everything except set variables, which can load
code into a process (`Caller.proven`). Browsers can send requests for other sites, so a change must
come from a page of the same origin.
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
"""Returns whether the kernel reports root or the daemon's user as the peer of a socket."""

SEC_FETCH_SITE = "Sec-Fetch-Site"
CHALLENGE = 'Bearer realm="comfysup"'


class Access(Enum):
    """What a route requires of its callers."""

    OPEN = auto()
    """Nothing: liveness checks have no token."""
    READ = auto()
    """The read token or the write token, if one is set."""
    FOLLOW = auto()
    """As `READ`, for a stream; and no page of another origin."""
    WRITE = auto()
    """The write token, if one is set, and no cross-origin page."""


@dataclass(frozen=True, slots=True)
class Caller:
    """The caller. `proven` by the write token or by the kernel, so it may load code.

    `local` means that the call came over the unix socket.
    """

    proven: bool
    local: bool = False


@dataclass(frozen=True, slots=True)
class Admission:
    """The admission rules. `allowed_hosts` are lower-case names; if empty, any name is allowed."""

    is_owner: IsOwner
    token: Token | None = None
    read_token: Token | None = None
    allowed_hosts: frozenset[str] = frozenset()


def admit(request: web.Request, access: Access, admission: Admission) -> Caller:
    """Return the caller. Raises `ApiError` if refused; its text never repeats the request."""
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
        raise ApiError("forbidden", "this socket is for root and the user of comfysup only")
    return Caller(proven=True, local=True)


def _check_host(request: web.Request, admission: Admission) -> None:
    """Refuse an unknown host name, which may have been pointed here (DNS rebinding)."""
    if not admission.allowed_hosts:
        return
    host = _hostname(request.headers.get(hdrs.HOST, ""))
    if host not in admission.allowed_hosts and not _cannot_be_rebound(host):
        raise ApiError("forbidden_host", "this host is not in COMFYSUP_ALLOWED_HOSTS")


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
        raise ApiError("forbidden_origin", "cross-origin request refused")
    if admission.token is None and not _cannot_be_rebound(host):
        raise ApiError(
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
            "unauthorized",
            "the token is invalid" if given else "a bearer token is required",
            {hdrs.WWW_AUTHENTICATE: CHALLENGE + (', error="invalid_token"' if given else "")},
        )
    if access is Access.WRITE and not writes:
        raise ApiError("forbidden", "the read token does not permit changes")
    return Caller(proven=writes)


def _hostname(address: str) -> str:
    try:
        return (urlsplit(f"//{address}").hostname or "").lower()
    except ValueError:
        return ""


def _cannot_be_rebound(host: str) -> bool:
    """Return whether DNS cannot redirect this host: an address, or a local name."""
    try:
        ip_address(host)
    except ValueError:
        return host != "" and "." not in host
    return True
