"""Errors of a client: their words, and that they travel."""

import pickle
from uuid import uuid4

import pytest

from distriqueue.core.errors import DistriQueueError
from distriqueue.sdk import errors
from distriqueue.sdk.errors import JobFailed, ResultTimeout


def test_a_failed_job_says_why() -> None:
    job_id = uuid4()
    error = JobFailed(job_id, "resize", "failed", error="no such file", error_type="OSError", traceback="Traceback …")
    assert str(error) == error.message == f"job {job_id} (resize) failed: OSError: no such file"


def test_a_failed_job_can_be_pickled() -> None:
    error = JobFailed(uuid4(), "resize", "failed", error="no such file", error_type="OSError", traceback="Traceback …")
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is JobFailed
    assert str(copy) == str(error)
    assert copy.__dict__ == error.__dict__


def test_a_result_timeout_is_a_timeout() -> None:
    with pytest.raises(TimeoutError):
        raise ResultTimeout("too late")


def test_each_error_has_a_code_of_its_own() -> None:
    kinds = [
        each
        for each in vars(errors).values()
        if isinstance(each, type) and issubclass(each, DistriQueueError) and each.__module__ == errors.__name__
    ]
    assert len(kinds) > 5
    assert len({kind.code for kind in kinds}) == len(kinds)
    assert all(kind.code in str(errors.__doc__) for kind in kinds)
