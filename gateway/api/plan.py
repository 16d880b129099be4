"""What a client may say of a schedule, and its way from JSON to a `Plan`."""

from typing import Annotated, Any, Final, Literal, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StrictBool,
    StrictStr,
    StringConstraints,
    ValidationError,
)
from pydantic.alias_generators import to_camel

from distriqueue.core.job import DEFAULT_EXECUTION_TIMEOUT_S, DEFAULT_MAX_RETRIES, Priority
from distriqueue.store.schedules import DEFAULT_GRACE_S, Plan
from gateway.api.problems import field_errors, invalid
from gateway.api.submission import MaxRetries, Name, PriorityIn, Seconds, Tag, not_reserved, storable

MAX_GRACE_S: Final = 7 * 86_400.0
NAME: Final = r"^(\.?[^\x00-\x1f\x7f/.]|\.\.[^\x00-\x1f\x7f/])[^\x00-\x1f\x7f/]*$"
"""One segment of an address: neither a slash in it, nor `.` or `..`, which clients resolve themselves."""

ScheduleName = Annotated[StrictStr, StringConstraints(min_length=1, max_length=200, pattern=NAME)]
JobType = Annotated[Name, AfterValidator(not_reserved)]
Cron = Annotated[StrictStr, StringConstraints(min_length=1, max_length=200)]
Grace = Annotated[float, Field(strict=True, ge=0, le=MAX_GRACE_S, allow_inf_nan=False)]
Tags = Annotated[tuple[Tag, ...], Field(max_length=50)]
Overlap = Literal["allow", "skip"]

M = TypeVar("M", bound=BaseModel)


class NewSchedule(BaseModel):
    """A schedule, and the job that each of its fires makes."""

    model_config = ConfigDict(extra="forbid", alias_generator=to_camel, frozen=True)

    name: ScheduleName = Field(description="Unique; a part of the schedule's address, so without slashes.")
    cron: Cron = Field(description="Five fields, or six with the second first.", examples=["30 4 * * *"])
    timezone: Cron = Field(default="UTC", description="An IANA name.", examples=["Europe/Berlin"])
    type: JobType = Field(examples=["calculate"])
    priority: PriorityIn = Priority.MEDIUM
    payload: dict[str, Any] = Field(default_factory=dict)
    max_retries: MaxRetries = DEFAULT_MAX_RETRIES
    execution_timeout: Seconds = DEFAULT_EXECUTION_TIMEOUT_S
    tags: Tags = ()
    overlap: Overlap = Field(
        default="allow", description="`skip`: a fire makes no job while the job of an earlier one is not over."
    )
    misfire_grace: Grace = Field(
        default=DEFAULT_GRACE_S, description="Seconds; of fires that come later than this only the newest is made."
    )
    paused: StrictBool = False


def _without_defaults(schema: dict[str, Any]) -> None:
    for field in schema["properties"].values():
        field.pop("default", None)


class ScheduleChange(BaseModel):
    """What is to be otherwise; another `cron` or `timezone`, or the end of a pause, counts from now."""

    # The defaults here are never used: a field that is not given stays as it is. Null is no value of any.
    model_config = ConfigDict(
        extra="forbid", alias_generator=to_camel, frozen=True, json_schema_extra=_without_defaults
    )

    cron: Cron = ""
    timezone: Cron = ""
    type: JobType = ""
    priority: PriorityIn = Priority.MEDIUM
    payload: dict[str, Any] = {}
    max_retries: MaxRetries = 0
    execution_timeout: Seconds = 0.0
    tags: Tags = ()
    overlap: Overlap = "allow"
    misfire_grace: Grace = 0.0
    paused: StrictBool = False


def read_plan(body: object) -> Plan:
    """Check a new schedule; InvalidRequest names each wrong field."""
    new = _read(NewSchedule, body)
    plan = Plan(**_stored({name: getattr(new, name) for name in NewSchedule.model_fields}))
    plan.times()
    return plan


def read_change(body: object) -> dict[str, Any]:
    """Check a change; return its fields under the names of `Plan`. InvalidRequest names each wrong one."""
    change = _read(ScheduleChange, body)
    return _stored({name: getattr(change, name) for name in change.model_fields_set})


def _read(model: type[M], body: object) -> M:
    try:
        return model.model_validate(body)
    except ValidationError as exc:
        raise invalid(field_errors(exc.errors(include_url=False))) from None


def _stored(fields: dict[str, Any]) -> dict[str, Any]:
    renamed = {"execution_timeout": "execution_timeout_s", "misfire_grace": "misfire_grace_s"}
    stored = {renamed.get(name, name): value for name, value in fields.items()}
    if "payload" in stored:
        stored["payload_json"], _ = storable(stored.pop("payload"))
    return stored
