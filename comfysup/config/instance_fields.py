"""The fields of an instance in a request or in instances.json, and the resulting spec."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Annotated, Final, Protocol

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    ValidationInfo,
    WithJsonSchema,
)

from comfysup.config import arguments
from comfysup.config import field_values as values
from comfysup.config.field_errors import kind, problem, quoted, shown, unknown_keys
from comfysup.model.spec import InstanceSpec, Policy, Rescue, Restart

STRICT: Final[Mapping[str, bool]] = MappingProxyType({"strict": True})
"""The validation context of files, which refuses a number written as text."""

MAX_VARIABLES: Final = 256


class SpecError(ValueError):
    """The fields are valid each, but not together with the defaults."""

    def __init__(self, where: str, text: str) -> None:
        """`where` is the invalid field."""
        super().__init__(text)
        self.where = where


class TextCheck(Protocol):
    """A check of `values` that can also accept text, for clients of the old service."""

    def __call__(self, value: object, *, text: bool) -> object:
        """Return the valid value; raises ValueError otherwise."""


def _optional(check: Callable[[object], object], default: object = None) -> PlainValidator:
    """Return a validator that treats null as a missing field."""
    return PlainValidator(lambda value: default if value is None else check(value))


def _number(check: TextCheck) -> PlainValidator:
    """Return a validator for a required field that may be text, but not in a file."""

    def validate(value: object, info: ValidationInfo) -> object:
        return check(value, text=not (info.context or {}).get("strict"))

    return PlainValidator(validate)


def _optional_number(check: TextCheck, default: object = None) -> PlainValidator:
    def validate(value: object, info: ValidationInfo) -> object:
        if value is None:
            return default
        return check(value, text=not (info.context or {}).get("strict"))

    return PlainValidator(validate)


def _schema(**schema: object) -> WithJsonSchema:
    return WithJsonSchema(dict(schema))


def _whole(low: int, high: int) -> WithJsonSchema:
    return _schema(type=["integer", "null"], minimum=low, maximum=high)


def _gpu(value: object, info: ValidationInfo) -> str | None:
    if value is None:
        return None
    gpu = values.gpu(value)
    if own := arguments.gpu_argument(info.data.get("extra_args", ())):
        raise problem(
            "gpu", f"cannot use gpu {shown(gpu)} together with {quoted(own)} in extra_args"
        )
    return gpu


GPU_VARIABLES: Final = ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER")
"""The variables that `gpu` sets."""


def _env(value: object, info: ValidationInfo) -> object:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise problem("env", f"must be an object of names and texts, is {kind(value)}")
    if len(value) > MAX_VARIABLES:
        raise problem("env", f"must be at most {MAX_VARIABLES} variables, is {len(value)}")
    own = next((name for name in GPU_VARIABLES if name in value), None)
    if own and info.data.get("gpu") is not None:
        raise problem("env", f"cannot set {own} together with gpu, which sets it: leave one out")
    return value


Seconds = Annotated[
    float | None,
    _optional_number(values.seconds),
    _schema(type=["number", "null"], exclusiveMinimum=0, maximum=values.MAX_SECONDS),
]
Count = Annotated[int | None, _optional_number(values.count), _whole(1, values.MAX_COUNT)]
EnvironmentName = Annotated[
    str | None,
    _optional(values.environment),
    _schema(type=["string", "null"], pattern=f"^{values.ENVIRONMENT_PATTERN}$"),
]
ExtraArgs = Annotated[
    tuple[Annotated[str, PlainValidator(arguments.argument)], ...],
    BeforeValidator(arguments.split),
    _schema(type=["string", "array", "null"], items={"type": "string"}),
]
Env = Annotated[
    dict[
        Annotated[str, PlainValidator(values.variable)],
        Annotated[str, PlainValidator(values.variable_value)],
    ],
    BeforeValidator(_env),
    _schema(
        type=["object", "null"],
        propertyNames={"pattern": values.VARIABLE_PATTERN, "maxLength": values.MAX_VARIABLE_CHARS},
        additionalProperties={"type": "string", "maxLength": values.MAX_VALUE_CHARS},
        maxProperties=MAX_VARIABLES,
    ),
]


class PolicyFields(BaseModel):
    """The policy of an instance as given; missing fields are null."""

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    startup_timeout: Seconds = Field(
        default=None, description="maximum time from spawn to ready, in seconds"
    )
    stop_grace: Seconds = Field(default=None, description="time from SIGINT to SIGTERM, in seconds")
    backoff_initial: Seconds = Field(
        default=None, description="delay before the first retry, in seconds"
    )
    backoff_max: Seconds = Field(
        default=None, description="maximum delay before a retry, in seconds"
    )
    max_failures: Count = Field(
        default=None, description="failures in a row until the state is `failed`"
    )
    stable_after: Seconds = Field(
        default=None, description="seconds of running after which the failure count is reset"
    )
    probe_period: Seconds = Field(
        default=None, description="time between two liveness probes, in seconds"
    )
    probe_timeout: Seconds = Field(default=None, description="timeout of a probe, in seconds")
    probe_failures: Count = Field(
        default=None, description="failed probes in a row until the instance is `unresponsive`"
    )
    restart: Annotated[
        Restart | None,
        _optional(values.restart),
        _schema(enum=[*Restart, None]),
    ] = Field(default=None, description="whether an instance is restarted after an unexpected exit")
    rescue: Annotated[
        Rescue | None,
        _optional(values.rescue),
        _schema(enum=[*Rescue, None]),
    ] = Field(default=None, description="which prompts of an exited process are resubmitted")

    def over(self, policy: Policy) -> Policy:
        """Return `policy` with the given fields replaced."""
        written = {name: getattr(self, name) for name in PolicyFields.model_fields}
        return replace(policy, **{name: v for name, v in written.items() if v is not None})


@dataclass(frozen=True, slots=True)
class Defaults:
    """The defaults of an instance; `extra_args` precede the instance's own."""

    environment: str = "comm"
    base_port: int = 3001
    extra_args: tuple[str, ...] = ()
    policy: Policy = field(default_factory=Policy)


class InstanceFields(PolicyFields):
    """One instance as given. Its env may hold secrets and is excluded from the repr."""

    id: Annotated[
        int,
        _number(values.instance_id),
        _schema(type="integer", minimum=0, maximum=values.MAX_ID),
    ] = Field(description="id of the instance")
    port: Annotated[int | None, _optional_number(values.port), _whole(1, values.MAX_PORT)] = Field(
        default=None, description="port of ComfyUI"
    )
    name: Annotated[
        str | None,
        _optional(values.name),
        _schema(type=["string", "null"], minLength=1, maxLength=values.MAX_NAME_CHARS),
    ] = Field(default=None, description="name of the instance")
    description: Annotated[
        str,
        _optional(values.description, ""),
        _schema(type=["string", "null"], maxLength=values.MAX_DESCRIPTION_CHARS),
    ] = Field(default="", description="a note, which is shown with the instance")
    extra_args: ExtraArgs = Field(
        default_factory=tuple,
        description="arguments of ComfyUI, after those of `EXTRA_ARGS`; `--port` and `--listen` "
        "are refused",
    )
    enabled: Annotated[
        bool, _optional_number(values.flag, default=True), _schema(type=["boolean", "null"])
    ] = Field(default=True, description="`false`: start-instances skips the instance")
    environment: EnvironmentName = Field(default=None, description="name of the environment")
    gpu: Annotated[
        str | None,
        PlainValidator(_gpu),
        _schema(type=["integer", "string", "null"], minimum=0, maximum=values.MAX_GPU),
    ] = Field(
        default=None,
        description='`0`, `"0,1"`, `"GPU-…"`, `"MIG-…"`, `"auto"`; null: all GPUs visible to the '
        "daemon",
    )
    env: Env = Field(
        default_factory=dict,
        repr=False,
        description="environment variables; requires the token or the socket",
    )

    def to_spec(self, defaults: Defaults) -> InstanceSpec:
        """Return the spec of this instance; raises SpecError when the defaults conflict with it."""
        return InstanceSpec(
            id=self.id,
            name=self.name or default_name(self.id),
            environment=self.environment or defaults.environment,
            port=self.port or default_port(self.id, defaults.base_port),
            extra_args=self._all_arguments(defaults.extra_args),
            gpu=self.gpu,
            env=tuple(sorted(self.env.items())),
            description=self.description,
            policy=self.over(defaults.policy),
        )

    def _all_arguments(self, before: tuple[str, ...]) -> tuple[str, ...]:
        if self.gpu is not None and (default := arguments.gpu_argument(before)):
            raise SpecError(
                "gpu",
                f"cannot use gpu {shown(self.gpu)} together with {quoted(default)}, which "
                "EXTRA_ARGS or default_extra_args give to every instance",
            )
        return before + self.extra_args


def default_name(instance_id: int) -> str:
    return f"instance_{instance_id}"


def default_port(instance_id: int, base_port: int) -> int:
    """Return the default port of an instance; raises SpecError when it exceeds the maximum."""
    port = base_port + instance_id
    if port > values.MAX_PORT:
        raise SpecError(
            "port",
            f"port must be given: the base port {base_port} + id {instance_id} is above "
            f"{values.MAX_PORT}",
        )
    return port


def unknown_fields(
    mapping: Mapping[str, object], model: type[BaseModel] = InstanceFields
) -> list[str]:
    """Return a warning per unknown field: `unknown field 'gpus': did you mean 'gpu'?`."""
    unknown = unknown_keys(mapping, model.model_fields)
    return [f"unknown field {quoted(key)}{hint}" for key, hint in unknown.items()]
