"""Reading the fields of one instance."""

import pytest
from pydantic import ValidationError

from comfysup.config.field_errors import problems
from comfysup.config.instance_fields import (
    STRICT,
    InstanceFields,
)


def read(**given: object) -> InstanceFields:
    return InstanceFields.model_validate({"id": 0} | given)


def field_errors(given: dict[str, object], *, strict: bool = False) -> list[tuple[str, str]]:
    with pytest.raises(ValidationError) as caught:
        InstanceFields.model_validate(given, context=STRICT if strict else None)
    return [(".".join(map(str, each.loc)), each.text) for each in problems(caught.value)]
