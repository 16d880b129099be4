"""When a call is made again, and what its answer means; without a network."""

import json
import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import httpx
import pytest

from distriqueue.core.errors import (
    Conflict,
    DistriQueueError,
    Forbidden,
    IdempotencyKeyInFlight,
    InvalidRequest,
    NotFound,
    RateLimited,
    StoreUnavailable,
    Unavailable,
)
from distriqueue.core.states import Status
from distriqueue.sdk.errors import GatewayUnreachable, UnexpectedAnswer
from distriqueue.sdk.exchange import (
    IDEMPOTENCY_KEY,
    Answer,
    Outcome,
    Patience,
    Pause,
    Request,
    attempts,
    request,
    retry_after_s,
)

GET = request("GET", "/api/jobs/1")
POST = request("POST", "/api/jobs", body={"type": "t"})
KEYED = request("POST", "/api/jobs", body={"type": "t"}, headers={IDEMPOTENCY_KEY: "k"})
RESET = httpx.ReadError("connection reset")
REFUSED = httpx.ConnectError("refused")


def problem(status: int, code: str, *, retry_after: str | None = None, **more: Any) -> httpx.Response:
    body = {"status": status, "code": code, "detail": f"it is {code}"} | more
    headers = {"content-type": "application/problem+json"} | ({"retry-after": retry_after} if retry_after else {})
    return httpx.Response(status, content=json.dumps(body), headers=headers)


def ok(body: object = None) -> httpx.Response:
    return httpx.Response(200, json=body)


def drive(what: Request, outcomes: Sequence[Outcome], *, retry_for_s: float = 60.0) -> tuple[Answer, int, list[float]]:
    """Return the answer, how often it was asked, and the pauses between; the clock goes on by pauses only."""
    now = 0.0
    pauses: list[float] = []
    coming = iter(outcomes)
    plan = attempts(what, Patience(retry_for_s, random.Random(1), clock=lambda: now), at="http://gateway")
    step = next(plan)
    asked = 0
    try:
        while True:
            if isinstance(step, Pause):
                pauses.append(step.seconds)
                now += step.seconds
                step = plan.send(None)
            else:
                asked += 1
                step = plan.send(next(coming))
    except StopIteration as end:
        return end.value, asked, pauses


@pytest.mark.parametrize("what", [GET, KEYED])
@pytest.mark.parametrize("first", [RESET, REFUSED, problem(503, "store_unavailable"), httpx.Response(502)])
def test_what_may_pass_is_tried_again_where_that_is_safe(what: Request, first: Outcome) -> None:
    answer, asked, pauses = drive(what, [first, first, ok({"id": 1})])
    assert (answer.body, asked) == ({"id": 1}, 3)
    assert all(0 < pause_s < 1 for pause_s in pauses)


@pytest.mark.parametrize("first", [RESET, problem(503, "store_unavailable"), httpx.ReadTimeout("slow")])
def test_a_post_without_a_key_is_not_sent_twice(first: Outcome) -> None:
    with pytest.raises(Unavailable):
        drive(POST, [first, ok()])


@pytest.mark.parametrize("first", [REFUSED, httpx.ConnectTimeout("slow"), problem(429, "overloaded")])
def test_what_had_no_effect_may_always_be_sent_again(first: Outcome) -> None:
    assert drive(POST, [first, ok({})])[1] == 2


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (problem(404, "not_found"), NotFound),
        (problem(409, "conflict"), Conflict),
        (problem(403, "forbidden"), Forbidden),
        (problem(422, "invalid_request"), InvalidRequest),
        (problem(409, "something_newer"), Conflict),
        (problem(500, "internal"), UnexpectedAnswer),
        (httpx.Response(404, text="<html>"), UnexpectedAnswer),
        (httpx.Response(200, text="<html>"), UnexpectedAnswer),
        (httpx.Response(307, headers={"location": "/"}), UnexpectedAnswer),
    ],
)
def test_an_error_is_of_its_kind_and_at_once(answer: httpx.Response, error: type[DistriQueueError]) -> None:
    with pytest.raises(error) as raised:
        drive(GET, [answer])
    assert type(raised.value) is error


def test_an_error_names_the_fields() -> None:
    wrong = [{"field": "payload.n", "message": "is no number"}]
    with pytest.raises(InvalidRequest, match="it is invalid_request") as raised:
        drive(KEYED, [problem(422, "invalid_request", errors=wrong)])
    assert raised.value.errors == wrong


def test_an_unreachable_gateway_is_named_with_its_address() -> None:
    with pytest.raises(GatewayUnreachable, match=r"GET http://gateway/api/jobs/1: refused") as raised:
        drive(GET, [REFUSED] * 100, retry_for_s=5)
    assert raised.value.__cause__ is REFUSED


def test_retry_after_is_kept() -> None:
    _, _, pauses = drive(GET, [problem(429, "rate_limited", retry_after="7"), ok()])
    assert pauses == [7.0]


def test_a_retry_after_beyond_our_patience_is_the_end() -> None:
    with pytest.raises(RateLimited) as raised:
        drive(GET, [problem(429, "rate_limited", retry_after="70"), ok()])
    assert raised.value.retry_after_s == 70


def test_no_patience_is_one_try() -> None:
    with pytest.raises(StoreUnavailable):
        drive(GET, [problem(503, "store_unavailable"), ok()], retry_for_s=0)


def test_patience_ends() -> None:
    asked: list[int] = []

    def forever() -> Any:
        while True:
            asked.append(1)
            yield REFUSED

    with pytest.raises(GatewayUnreachable):
        drive(GET, forever(), retry_for_s=30)
    assert 5 < len(asked) < 30


def test_a_key_in_flight_is_waited_for_and_other_conflicts_are_not() -> None:
    in_flight = problem(409, "idempotency_key_in_flight", retry_after="1")
    assert drive(KEYED, [in_flight, ok({})])[2] == [1.0]
    with pytest.raises(IdempotencyKeyInFlight):
        drive(KEYED, [in_flight], retry_for_s=0.5)


def test_the_same_bytes_are_sent_each_time() -> None:
    plan = attempts(KEYED, Patience(60, random.Random(1)), at="http://gateway")
    first = next(plan)
    assert isinstance(plan.send(RESET), Pause)
    assert plan.send(None) is first
    assert isinstance(first, Request)
    assert first.content == b'{"type":"t"}'


def test_queries_are_spelt_as_the_gateway_reads_them() -> None:
    at = datetime(2030, 1, 31, tzinfo=UTC)
    query = {"status": [Status.FAILED, "timeout"], "q": None, "dry": True, "size": 5, "createdFrom": at}
    assert request("get", "/api/jobs", query=query).query == (
        ("status", "failed"),
        ("status", "timeout"),
        ("dry", "true"),
        ("size", "5"),
        ("createdFrom", "2030-01-31T00:00:00+00:00"),
    )


def test_what_is_no_json_is_refused_here() -> None:
    with pytest.raises(InvalidRequest, match="cannot be written as JSON"):
        request("POST", "/api/jobs", body={"payload": object()})


@pytest.mark.parametrize(
    ("header", "least_s", "most_s"),
    [
        ("3", 3, 3),
        ("1.5", 1.5, 1.5),
        ("-1", 0, 0),
    ],
)
def test_seconds_of_retry_after_are_read(header: str, least_s: float, most_s: float) -> None:
    assert least_s <= (retry_after_s(header) or 0) <= most_s


def test_a_date_of_retry_after_is_read() -> None:
    header = format_datetime(datetime.now(UTC) + timedelta(seconds=60))
    assert 50 <= (retry_after_s(header) or 0) <= 60


@pytest.mark.parametrize("header", [None, "", "soon", "nan", "inf"])
def test_an_unreadable_retry_after_is_none(header: str | None) -> None:
    assert retry_after_s(header) is None
