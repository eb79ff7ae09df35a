"""Every error code of the API, with its HTTP status and its meaning.

docs/reference/http.md and the OpenAPI document are compared with this table.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple


class ErrorCode(NamedTuple):
    """The HTTP status of a code; `meaning` states the cause and a remedy."""

    status: int
    meaning: str


ERROR_CODES: Final[Mapping[str, ErrorCode]] = {
    "bad_request": ErrorCode(400, "the request or its body is not valid HTTP. Fix the client"),
    "unauthorized": ErrorCode(401, "the token is missing or invalid. Send the token"),
    "forbidden": ErrorCode(
        403,
        "the read token does not permit changes; or `env` or an argument requires the "
        "token; or the socket belongs to another user",
    ),
    "forbidden_host": ErrorCode(
        403, "the `Host` is not in `COMFYSUP_ALLOWED_HOSTS`. Add it, or use the IP address"
    ),
    "forbidden_origin": ErrorCode(
        403,
        "cross-origin request. Call the API from your server, or add the host to "
        "`COMFYSUP_ALLOWED_HOSTS`",
    ),
    "not_found": ErrorCode(404, "the route does not exist"),
    "unknown_instance": ErrorCode(
        404, "the instance does not exist; `detail` lists the existing ones"
    ),
    "unknown_environment": ErrorCode(
        404, "the environment does not exist or is not usable; `detail` states the reason"
    ),
    "method_not_allowed": ErrorCode(
        405, "the route does not support this method; the header `Allow` lists the supported ones"
    ),
    "request_timeout": ErrorCode(
        408, "the body did not arrive within `COMFYSUP_BODY_TIMEOUT`. The connection is closed"
    ),
    "port_taken": ErrorCode(
        409,
        "an instance, another program or comfysup itself uses the port. Choose another "
        "port, or stop its user",
    ),
    "name_taken": ErrorCode(409, "another instance has the name. Choose another name"),
    "spec_conflict": ErrorCode(409, "the instance runs with other settings. Stop it first"),
    "unknown_gpu": ErrorCode(
        409,
        "the driver does not know that GPU, or the daemon's `CUDA_VISIBLE_DEVICES` "
        "excludes it; `detail` lists the existing ones",
    ),
    "environment_in_use": ErrorCode(
        409,
        "an instance uses the models, or another environment is being linked. Stop the "
        "instance, or retry later",
    ),
    "started_again": ErrorCode(
        409, "another caller started the instance while it was being stopped. Retry"
    ),
    "restart_refused": ErrorCode(
        409,
        "the next program could not take over; `detail` lists the reasons. Correct them and retry",
    ),
    "body_too_large": ErrorCode(413, "the body exceeds `COMFYSUP_MAX_BODY`"),
    "unsupported_media_type": ErrorCode(
        415, "the body is not `application/json`, or is compressed"
    ),
    "expectation_failed": ErrorCode(
        417, "the header `Expect` requires something other than `100-continue`"
    ),
    "invalid_request": ErrorCode(
        422, "the body or the query is not valid; nothing was started. `detail` lists every error"
    ),
    "head_too_large": ErrorCode(431, "the request headers exceed 64 KiB. The connection is closed"),
    "start_failed": ErrorCode(
        500, "the process exited before it was ready, or could not be spawned"
    ),
    "stop_failed": ErrorCode(
        500, "a process of the instance is still running: its state is `stuck`"
    ),
    "log_unreadable": ErrorCode(500, "the log cannot be opened; `detail` states the reason"),
    "internal_error": ErrorCode(
        500, "internal error. The daemon's log contains the traceback; report it"
    ),
    "environment_unresponsive": ErrorCode(
        503, "a directory or the GPU driver does not respond; `detail` names it. Repair the mount"
    ),
    "shutting_down": ErrorCode(503, "the daemon is shutting down"),
    "too_many_connections": ErrorCode(
        503, "all connections are in use (`COMFYSUP_MAX_CONNECTIONS`). Retry later"
    ),
    "too_many_followers": ErrorCode(503, "64 callers follow logs. Retry later"),
    "too_many_readers": ErrorCode(503, "256 callers follow events, or 64 read logs. Retry later"),
}
