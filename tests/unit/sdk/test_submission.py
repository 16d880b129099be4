"""What is sent for what a caller says."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest
from pydantic import BaseModel, Field

from distriqueue.core.errors import InvalidRequest
from distriqueue.core.job import Priority
from distriqueue.core.retry import RetryPolicy
from distriqueue.core.states import Status
from distriqueue.sdk.handle import JobHandle, Seen
from distriqueue.sdk.submission import JobOptions, NewJob, filter_query, id_of
from gateway.api.submission import JobSubmission
from workers.handlers.registry import Registry

registry = Registry()
JOB = uuid4()


class Resize(BaseModel):
    width: int
    file_name: str = Field(default="a.png", alias="fileName")


class Crop(BaseModel):
    left: int


@registry.handler("resize")
async def resize(payload: Resize) -> None:
    """Make it smaller."""


@registry.handler("anything")
def anything(payload: dict[str, Any]) -> None:
    """Take what comes."""


def nobody(payload: Resize) -> None:
    """No handler."""


@dataclass
class Point:
    x: int


def test_every_option_is_a_field_of_the_contract() -> None:
    said = {
        "priority": "high",
        "max_retries": 1,
        "retry_policy": "fixed",
        "execution_timeout": 2.5,
        "schedule_at": datetime(2030, 1, 1, tzinfo=UTC),
        "expires_at": datetime(2030, 1, 2, tzinfo=UTC),
        "queue_timeout": 9,
        "parent_job_id": JOB,
        "depends_on": [str(JOB), JobHandle(Seen(JOB, "t"))],
        "on_parent_failure": "run",
        "unique_key": "u",
        "on_conflict": "return_existing",
        "concurrency_key": "c",
        "concurrency_limit": 2,
        "callback_url": "https://example.com/hook",
        "tags": ("a", "b"),
        "metadata": {"a": 1},
        "id": str(JOB),
    }
    assert said.keys() == JobOptions.__annotations__.keys()
    assert {*said, "type", "payload"} == set(JobSubmission.model_fields)
    body = NewJob("t", {"n": 1}, **said).body  # type: ignore[arg-type]  # a dictionary here, to be complete
    read = JobSubmission.model_validate(body)
    assert read.model_fields_set == set(JobSubmission.model_fields)
    assert (read.priority, read.id, read.depends_on) == (Priority.HIGH, JOB, (JOB, JOB))
    assert read.schedule_at == said["schedule_at"]


def test_a_retry_policy_of_the_core_is_understood() -> None:
    body = NewJob("t", retry_policy=RetryPolicy(base_s=1, factor=3, cap_s=60)).body
    assert body["retryPolicy"] == {"type": "exponential", "base": 1, "factor": 3, "cap": 60}
    assert JobSubmission.model_validate(body).retry_policy is not None


def test_none_is_as_good_as_not_said() -> None:
    assert NewJob("t", unique_key=None).body == {"type": "t", "payload": {}}  # type: ignore[arg-type]


def test_an_unknown_option_is_an_error_at_once() -> None:
    with pytest.raises(TypeError, match="no option of a job: prioritee"):
        NewJob("t", prioritee="high")  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"priority": "urgent"}, "priority must be one of CRITICAL, HIGH, MEDIUM, LOW"),
        ({"schedule_at": datetime(2030, 1, 1)}, "scheduleAt: must have a time zone"),  # noqa: DTZ001 -- wrong on purpose
        ({"depends_on": str(JOB)}, "dependsOn: must be several"),
        ({"tags": "a"}, "tags: must be several"),
        ({"id": "1"}, "'1' is no job's id"),
    ],
)
def test_what_is_surely_wrong_is_said_here(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidRequest, match=message) as raised:
        NewJob("t", **options)
    assert raised.value.errors


@pytest.mark.parametrize("payload", [Resize(width=80, fileName="b.png"), {"width": 80, "fileName": "b.png"}])
def test_a_handler_says_its_type_and_checks_the_payload(payload: Any) -> None:
    assert NewJob(resize, payload).body == {"type": "resize", "payload": {"width": 80, "fileName": "b.png"}}


@pytest.mark.parametrize("payload", [Crop(left=1), {"width": "wide"}, {}])
def test_a_payload_that_the_handler_would_not_take_is_not_sent(payload: Any) -> None:
    with pytest.raises(InvalidRequest, match=r"not what 'resize' takes: payload\.width: ") as raised:
        NewJob(resize, payload)
    assert raised.value.errors[0]["field"] == "payload.width"


def test_a_function_that_is_no_handler_is_named() -> None:
    with pytest.raises(TypeError, match="nobody is no handler"):
        NewJob(nobody, {"width": 1})


@pytest.mark.parametrize("job", ["anything", anything])
def test_models_and_dataclasses_become_objects(job: Any) -> None:
    assert NewJob(job, Point(1)).body["payload"] == {"x": 1}
    assert NewJob(job, {"at": datetime(2030, 1, 1, tzinfo=UTC), "id": JOB}).body["payload"] == {
        "at": "2030-01-01T00:00:00Z",
        "id": str(JOB),
    }


@pytest.mark.parametrize("payload", [[1], "text", 5, {"a": object()}])
def test_a_payload_is_an_object_of_json(payload: Any) -> None:
    with pytest.raises(InvalidRequest):
        NewJob("t", payload)


def test_filters_are_spelt_as_the_list_has_them() -> None:
    assert filter_query({"status": {Status.FAILED}, "created_from": "x", "batch": JOB}) == {
        "status": [Status.FAILED],
        "createdFrom": "x",
        "batch": JOB,
    }
    with pytest.raises(TypeError, match="no filter of jobs: state"):
        filter_query({"state": "failed"})


def test_a_job_is_known_by_handle_id_and_text() -> None:
    assert id_of(JobHandle(Seen(JOB, "t"))) == id_of(JOB) == id_of(str(JOB).upper()) == str(JOB)
    assert UUID(id_of(JOB)) == JOB
