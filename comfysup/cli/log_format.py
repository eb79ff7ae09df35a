"""What the daemon's own log looks like: for people on a terminal, JSON lines everywhere else."""

import logging
from typing import TextIO, cast

import structlog

from comfysup.cli.log_stream import LogStream

NO_LOCALS = structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
"""How a traceback is written: what a variable held may be a secret."""


def configure_logging(stream: LogStream) -> None:
    """Send every structlog event to `stream`; warnings of other libraries go the same way."""
    on_terminal = stream.isatty()
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *(
                [structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)]
                if on_terminal
                else [
                    structlog.processors.ExceptionRenderer(NO_LOCALS),
                    structlog.processors.JSONRenderer(),
                ]
            ),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(cast("TextIO", stream)),
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(stream=stream, level=logging.WARNING, format="%(message)s")
