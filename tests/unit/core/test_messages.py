import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distriqueue.core.job import Priority, new_job_id
from distriqueue.core.messages import Dispatch, Heartbeat, Report, UnreadableDispatch

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(payload=st.dictionaries(st.text(), json_values, max_size=5))
def test_a_dispatch_survives_the_wire(payload: dict[str, object]) -> None:
    sent = Dispatch(new_job_id(), 3, "resize", Priority.LOW, payload, 12.5)
    assert Dispatch.decode(sent.encode()) == sent
    assert b"\n" not in sent.encode()


def test_a_newer_senders_extra_field_is_ignored() -> None:
    sent = Dispatch(new_job_id(), 1, "resize", Priority.HIGH, {}, 1.0)
    body = json.loads(sent.encode()) | {"later": "field"}
    assert Dispatch.decode(json.dumps(body).encode()) == sent


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"\xff\xfe",
        b"{}",
        b'{"v": 2}',
        b'{"v": 1, "payload": {}}',
        b'{"v": 1, "payload": [], "jobId": "x", "attempt": 1, "type": "t", "priority": "LOW", "executionTimeout": 1}',
        b'{"v": 1, "payload": {}, "jobId": "x", "attempt": 1, "type": "t", "priority": "LOW", "executionTimeout": 1}',
    ],
)
def test_what_is_no_dispatch_is_refused_as_such(body: bytes) -> None:
    with pytest.raises(UnreadableDispatch):
        Dispatch.decode(body)


@given(body=st.binary(max_size=200))
def test_no_bytes_crash_the_reader(body: bytes) -> None:
    with pytest.raises(UnreadableDispatch):
        Dispatch.decode(body)


def test_heartbeats_are_read_in_both_spellings() -> None:
    camel = Heartbeat.model_validate({"workerId": "w1", "currentLoad": 2})
    snake = Heartbeat.model_validate({"worker_id": "w1", "current_load": 2})
    assert camel == snake


def test_a_worker_id_is_one_printable_line() -> None:
    with pytest.raises(ValueError, match="pattern"):
        Report.model_validate({"jobId": str(new_job_id()), "attempt": 1, "status": "running", "workerId": "a\nb"})
