"""The outbox against a real HTTP server on a bad day: nothing lost, in order, nothing sent again once taken."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

import pytest
import structlog
from pydantic import SecretStr

from distriqueue.core.messages import ReportStatus
from tests.unit.workers.fakes import FakeGateway, dispatch_of, refused_url, served, until
from workers.runtime import reports
from workers.runtime.gateway import Gateways
from workers.runtime.outcome import Outcome, completed, failure
from workers.runtime.pending import NOTHING, Granted
from workers.runtime.recent import AttemptKey, key_of
from workers.runtime.reports import Outbox

DONE = completed({"ok": True})


@contextlib.asynccontextmanager
async def an_outbox(*urls: str, timeout_s: float = 5.0, api_key: SecretStr | None = None) -> AsyncIterator[Outbox]:
    """Run an outbox that reports to the URLs."""
    async with Gateways(urls, timeout_s=timeout_s, api_key=api_key) as gateways, asyncio.TaskGroup() as group:
        outbox = Outbox(gateways, "w.1")
        sending = group.create_task(outbox.run())
        yield outbox
        sending.cancel()


class Claims:
    """Notes answers; ends what is accepted."""

    def __init__(self, outbox: Outbox, end: Outcome | None = None) -> None:
        self.outbox = outbox
        self.end = end
        self.answers: dict[AttemptKey, tuple[str, str | None]] = {}

    def __call__(self, key: AttemptKey, answer: str, reason: str | None, _parents: Granted) -> None:
        """Take the answer."""
        assert key not in self.answers
        self.answers[key] = (answer, reason)
        if answer == "accepted" and self.end is not None:
            self.outbox.end(key, self.end)


def ignore(_key: AttemptKey, _answer: str, _reason: str | None, _parents: Granted) -> None:
    """Nobody asks."""


async def test_a_claim_and_its_end() -> None:
    gateway, dispatch = FakeGateway(), dispatch_of()
    async with served(gateway) as url, an_outbox(url) as outbox:
        claims = Claims(outbox, DONE)
        outbox.claim(dispatch, claims)
        assert await outbox.flush(5)
    assert claims.answers == {key_of(dispatch): ("accepted", None)}
    running, ended = gateway.of(dispatch)
    assert running == {"jobId": str(dispatch.job_id), "attempt": 1, "status": "running", "workerId": "w.1"}
    assert (ended["status"], ended["result"]) == ("completed", {"ok": True})


async def test_a_claim_brings_what_is_known_of_the_job() -> None:
    gateway, plain, rich = FakeGateway(), dispatch_of(), dispatch_of()
    gateway.parents[str(rich.job_id)] = [{"type": "a"}]
    gateway.checkpoints[str(rich.job_id)] = {"page": 7}
    granted: dict[AttemptKey, Granted] = {}
    async with served(gateway) as url, an_outbox(url) as outbox:
        for dispatch in (plain, rich):
            outbox.claim(dispatch, lambda key, _answer, _reason, brought: granted.update({key: brought}))
        assert await outbox.flush(5)
    assert granted == {key_of(plain): NOTHING, key_of(rich): Granted([{"type": "a"}], {"page": 7})}
    assert granted[key_of(plain)] is NOTHING


async def test_what_a_job_says_goes_with_its_progress_and_its_end() -> None:
    gateway, dispatch = FakeGateway(), dispatch_of()
    key = key_of(dispatch)
    line: dict[str, Any] = {"n": 1, "at": "2026-01-01T00:00:00Z", "level": "info", "message": "a"}
    async with served(gateway) as url, an_outbox(url) as outbox:
        outbox.progress(key, None, None, ignore, lines=[line], checkpoint=b'{"page":7}')
        assert await outbox.flush(5)
        outbox.end(key, replace(failure("x", "y"), lines=[line | {"n": 2}], checkpoint=b"8"))
        assert await outbox.flush(5)
    said, ended = gateway.of(dispatch)
    assert (said["status"], said["logs"], said["checkpoint"]) == ("running", [line], {"page": 7})
    assert "progress" not in said
    assert (ended["status"], ended["logs"], ended["checkpoint"]) == ("failed", [line | {"n": 2}], 8)


async def test_a_refusal_says_why() -> None:
    gateway, dispatch = FakeGateway(), dispatch_of()
    gateway.refuse[str(dispatch.job_id)] = "cancelled"
    async with served(gateway) as url, an_outbox(url) as outbox:
        claims = Claims(outbox)
        outbox.claim(dispatch, claims)
        assert await outbox.flush(5)
    assert claims.answers[key_of(dispatch)] == ("refused", "cancelled")


async def test_what_waits_goes_out_together() -> None:
    gateway = FakeGateway()
    gateway.gate.clear()
    async with served(gateway) as url, an_outbox(url) as outbox:
        claims = Claims(outbox)
        outbox.claim(dispatch_of(), claims)
        await until(lambda: bool(gateway.requests))
        for _ in range(1200):
            outbox.claim(dispatch_of(), claims)
        await until(lambda: gateway.in_flight == 2)
        gateway.gate.set()
        assert await outbox.flush(5)
    assert [len(request) for request in gateway.requests] == [1, 500, 500, 200]
    assert gateway.most_in_flight == 2
    assert len(claims.answers) == 1201


async def test_a_slow_request_does_not_hold_up_the_next() -> None:
    gateway = FakeGateway()
    gateway.gate.clear()
    async with served(gateway) as url, an_outbox(url) as outbox:
        outbox.claim(dispatch_of(), ignore)
        await until(lambda: gateway.in_flight == 1)
        outbox.claim(dispatch_of(), ignore)
        await until(lambda: gateway.in_flight == 2)
        gateway.gate.set()
        assert await outbox.flush(5)


@pytest.mark.parametrize("fate", [503, 500, 429, 404, 401, "reset", "lost"])
async def test_nothing_is_lost_to_faults_of_the_gateway(fate: int | str) -> None:
    gateway = FakeGateway()
    gateway.plan.extend([fate, fate, None, fate])
    dispatches = [dispatch_of() for _ in range(50)]
    async with served(gateway) as url, an_outbox(url) as outbox:
        claims = Claims(outbox, DONE)
        for dispatch in dispatches:
            outbox.claim(dispatch, claims)
        assert await outbox.flush(8)
        sent = len(gateway.requests)
        await asyncio.sleep(0.05)
        assert len(gateway.requests) == sent, "sent again although it was taken"
    assert all(gateway.statuses(dispatch) == ["running", "completed"] for dispatch in dispatches)
    if fate == "lost":
        assert gateway.repeated, "a lost reply means that the same is said again"


async def test_a_silent_gateway_is_given_up_and_the_other_one_asked() -> None:
    silent, awake, dispatch = FakeGateway(), FakeGateway(), dispatch_of()
    silent.gate.clear()
    async with served(silent) as one, served(awake) as two, an_outbox(one, two, timeout_s=0.1) as outbox:
        outbox.claim(dispatch, Claims(outbox, DONE))
        assert await outbox.flush(5)
        assert awake.statuses(dispatch) == ["running", "completed"]


async def test_a_gateway_that_is_down_costs_one_try_per_round() -> None:
    gateway, dispatch = FakeGateway(), dispatch_of()
    async with served(gateway) as url, an_outbox(refused_url(), url, refused_url()) as outbox:
        outbox.claim(dispatch, Claims(outbox, DONE))
        assert await outbox.flush(2)
    assert gateway.statuses(dispatch) == ["running", "completed"]


async def test_retry_after_is_heeded() -> None:
    gateway = FakeGateway()
    gateway.plan.append(429)
    gateway.retry_after = "0.5"
    loop = asyncio.get_running_loop()
    async with served(gateway) as url, an_outbox(url) as outbox:
        began = loop.time()
        outbox.claim(dispatch_of(), ignore)
        assert await outbox.flush(5)
    assert loop.time() - began >= 0.5


async def test_progress_is_the_latest_and_comes_before_the_end() -> None:
    gateway, dispatch = FakeGateway(), dispatch_of()
    key = key_of(dispatch)
    async with served(gateway) as url, an_outbox(url) as outbox:
        outbox.claim(dispatch, ignore)
        assert await outbox.flush(5)
        gateway.gate.clear()
        outbox.progress(key, 1.0, "first", ignore)
        await until(lambda: gateway.in_flight == 1)
        for percent in range(2, 90):
            outbox.progress(key, float(percent), None, ignore)
        gateway.gate.set()
        await until(lambda: len(gateway.of(dispatch)) == 3)
        gateway.gate.clear()
        outbox.progress(key, 95.0, None, ignore)
        await until(lambda: gateway.in_flight == 1)
        outbox.progress(key, 99.0, None, ignore)
        outbox.end(key, DONE)
        await asyncio.sleep(2 * reports.SLOW_S)
        assert gateway.in_flight == 1, "the end overtakes the progress"
        gateway.gate.set()
        assert await outbox.flush(5)
    assert [(r["status"], r.get("progress")) for r in gateway.of(dispatch)] == [
        ("running", None),
        ("running", 1.0),
        ("running", 89.0),
        ("running", 95.0),
        ("completed", None),
    ]


async def test_an_end_takes_the_place_of_a_progress_that_failed_to_go() -> None:
    gateway, dispatch = FakeGateway(), dispatch_of()
    key = key_of(dispatch)
    async with served(gateway) as url, an_outbox(url) as outbox:
        gateway.gate.clear()
        gateway.plan.append(503)
        outbox.progress(key, 10.0, None, ignore)
        await until(lambda: gateway.in_flight == 1)
        outbox.end(key, DONE)
        gateway.gate.set()
        assert await outbox.flush(5)
        assert len(outbox) == 0
        assert not outbox.full
    assert gateway.statuses(dispatch) == ["completed"]


@pytest.mark.parametrize(
    ("status", "error_type"), [(413, "result_too_large"), (422, "report_rejected"), (400, "report_rejected")]
)
async def test_one_poisonous_end_does_not_block_the_others(status: int, error_type: str) -> None:
    gateway = FakeGateway()
    dispatches = [dispatch_of() for _ in range(40)]
    gateway.poisonous_result = status
    async with served(gateway) as url, an_outbox(url) as outbox:
        for dispatch in dispatches:
            outbox.end(key_of(dispatch), completed("poison") if dispatch is dispatches[17] else DONE)
        assert await outbox.flush(5)
    assert all(gateway.statuses(dispatch) == ["completed"] for dispatch in dispatches if dispatch is not dispatches[17])
    (end,) = gateway.of(dispatches[17])
    assert (end["status"], end["errorType"], end["retryable"]) == ("failed", error_type, False)


async def test_an_end_that_is_rejected_in_every_form_is_dropped() -> None:
    gateway, good, bad = FakeGateway(), dispatch_of(), dispatch_of()
    gateway.poison[str(bad.job_id)] = 422
    async with served(gateway) as url, an_outbox(url) as outbox:
        outbox.end(key_of(bad), DONE)
        outbox.end(key_of(good), DONE)
        assert await outbox.flush(5)
    assert gateway.statuses(good) == ["completed"]
    assert gateway.statuses(bad) == []


async def test_a_poisonous_claim_is_refused() -> None:
    gateway, good, bad = FakeGateway(), dispatch_of(), dispatch_of()
    gateway.poison[str(bad.job_id)] = 422
    async with served(gateway) as url, an_outbox(url) as outbox:
        claims = Claims(outbox)
        outbox.claim(bad, claims)
        outbox.claim(good, claims)
        assert await outbox.flush(5)
    assert claims.answers[key_of(good)] == ("accepted", None)
    assert claims.answers[key_of(bad)][0] == "refused"


async def test_only_claims_that_nobody_saw_can_be_withdrawn() -> None:
    gateway, seen, unseen = FakeGateway(), dispatch_of(), dispatch_of()
    gateway.gate.clear()
    async with served(gateway) as url, an_outbox(url) as outbox:
        claims = Claims(outbox)
        outbox.claim(seen, claims)
        await until(lambda: gateway.in_flight == 1)
        outbox.claim(unseen, claims)
        assert outbox.withdraw_claims() == [key_of(unseen)]
        gateway.gate.set()
        assert await outbox.flush(5)
    assert list(claims.answers) == [key_of(seen)]


async def test_flush_gives_up_in_time() -> None:
    async with an_outbox(refused_url()) as outbox:
        outbox.claim(dispatch_of(), ignore)
        assert not await outbox.flush(0.05)
        assert len(outbox) == 1


async def test_a_full_outbox_says_so() -> None:
    async with an_outbox(refused_url()) as outbox:
        for _ in range(9):
            outbox.end(key_of(dispatch_of()), completed("x" * (8 * 1024 * 1024 - 10)))
        assert outbox.full


@pytest.mark.parametrize("broken", [b"[]", b"{}", b"nonsense", b'[{"answer": "perhaps"}]', b'[{"answer": {}}]', b"[1]"])
async def test_answers_that_are_none_are_asked_for_again(broken: bytes) -> None:
    gateway, dispatch = FakeGateway(), dispatch_of()
    replies = [broken]

    async def confused(scope: Any, receive: Any, send: Callable[[Any], Any]) -> None:
        if not replies:
            await gateway(scope, receive, send)
            return
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": replies.pop()})

    async with served(confused) as url, an_outbox(url) as outbox:
        outbox.claim(dispatch, Claims(outbox, failure("x", "y")))
        assert await outbox.flush(5)
    assert gateway.statuses(dispatch) == ["running", ReportStatus.FAILED]


async def test_the_key_is_shown_and_its_refusal_told_without_it() -> None:
    gateway = FakeGateway()
    gateway.plan.extend([401, 403, None, 401])
    with structlog.testing.capture_logs() as logs:
        async with served(gateway) as url:
            async with an_outbox(url, api_key=SecretStr("dq_the-key")) as outbox:
                outbox.claim(dispatch_of(), ignore)
                assert await outbox.flush(5)
            async with an_outbox(url) as outbox:
                outbox.claim(dispatch_of(), ignore)
                assert await outbox.flush(5)
    assert gateway.keys == {b"Bearer dq_the-key", None}
    unknown, scope, missing = [str(line["error"]) for line in logs if line["event"] == "reports_wait"]
    assert unknown.startswith("DISTRIQUEUE_API_KEY is refused, it is unknown or revoked: ")
    assert scope.startswith("DISTRIQUEUE_API_KEY is refused, it lacks the scope `worker`: ")
    assert missing.startswith("DISTRIQUEUE_API_KEY is missing: ")
    assert "the-key" not in str(logs)
