"""Times in views."""

from typing import Annotated, TypeAlias

from pydantic import WithJsonSchema

Time: TypeAlias = Annotated[str, WithJsonSchema({"type": "string", "format": "date-time"})]
"""A time as text (RFC 3339) in UTC, to the millisecond."""
