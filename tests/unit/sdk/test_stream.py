"""The stream that never breaks, over one that does."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from uuid import uuid4

import pytest

from distriqueue.core.errors import Forbidden, Overloaded, Unavailable
from distriqueue.sdk.errors import EventsLost, GatewayUnreachable, UnexpectedAnswer
from distriqueue.sdk.models import JobEvent
from distriqueue.sdk.stream import Gap
from tests.unit.sdk.fakes import FakeGateway

JOB = uuid4()
LOST = GatewayUnreachable("reset", retry_after_s=0.0)


@pytest.fixture
async def gateway() -> FakeGateway:
    gateway = FakeGateway()
    gateway.add(JOB)
    return gateway


@contextlib.asynccontextmanager
async def following(
    gateway: FakeGateway, *, after: int | None = None, retry_for_s: float = 5.0
) -> AsyncIterator[AsyncIterator[JobEvent | Gap]]:
    async with (
        asyncio.timeout(10),
        contextlib.aclosing(gateway.session(retry_for_s=retry_for_s).follow({"type": "t"}, after=after)) as news,
    ):
        yield news


async def test_it_begins_with_a_gap_and_resumes_without_one(gateway: FakeGateway) -> None:
    gateway.say("connected")
    gateway.tell(JOB, "running")
    gateway.pieces.put_nowait(LOST)
    gateway.say("connected")
    gateway.tell(JOB, "completed")
    async with following(gateway) as news:
        items = [await anext(news) for _ in range(3)]
    assert items[0] == Gap(1)
    assert [item.status.value for item in items[1:] if isinstance(item, JobEvent)] == ["running", "completed"]
    assert [headers.get("Last-Event-ID") for headers in gateway.streams] == [None, "2"]
    assert gateway.queries == [{"type": "t"}] * 2


async def test_an_end_of_the_response_is_a_cut(gateway: FakeGateway) -> None:
    gateway.say("connected")
    gateway.end_stream()
    gateway.tell(JOB, "completed")
    async with following(gateway) as news:
        assert await anext(news) == Gap(1)
        event = await anext(news)
    assert isinstance(event, JobEvent)
    assert gateway.streams[1]["Last-Event-ID"] == "1"


async def test_it_resumes_where_the_caller_says(gateway: FakeGateway) -> None:
    gateway.say("connected")
    gateway.tell(JOB, "completed")
    async with following(gateway, after=41) as news:
        event = await anext(news)
    assert isinstance(event, JobEvent)  # no gap: what is before, the caller knows
    assert gateway.streams[0]["Last-Event-ID"] == "41"


async def test_a_reset_is_a_gap_and_the_stream_goes_on_from_there(gateway: FakeGateway) -> None:
    gateway.say("connected")
    gateway.say("reset", reason="retention")
    gateway.pieces.put_nowait(LOST)
    gateway.tell(JOB, "completed")
    async with following(gateway) as news:
        assert [await anext(news), await anext(news)] == [Gap(1), Gap(2)]
        await anext(news)
    assert gateway.streams[1]["Last-Event-ID"] == "2"


async def test_what_a_newer_gateway_tells_besides_is_passed_over(gateway: FakeGateway) -> None:
    gateway.say("connected")
    gateway.say("weather", sun=True)
    gateway.tell(JOB, "completed")
    async with following(gateway) as news:
        await anext(news)
        assert isinstance(await anext(news), JobEvent)


async def test_what_is_no_event_is_said(gateway: FakeGateway) -> None:
    gateway.pieces.put_nowait(b"data: hello\n\n")
    async with following(gateway) as news:
        with pytest.raises(UnexpectedAnswer, match="hello"):
            await anext(news)


@pytest.mark.parametrize("passing", [LOST, Unavailable("starting"), Overloaded("busy", retry_after_s=0.1)])
async def test_its_patience_ends(gateway: FakeGateway, passing: Unavailable) -> None:
    for _ in range(100):
        gateway.pieces.put_nowait(passing)
    async with following(gateway, retry_for_s=0.5) as news:
        with pytest.raises(type(passing)):
            await anext(news)
    assert len(gateway.streams) < 10


async def test_a_refusal_is_the_end_at_once(gateway: FakeGateway) -> None:
    gateway.pieces.put_nowait(Forbidden("scope read"))
    async with following(gateway) as news:
        with pytest.raises(Forbidden):
            await anext(news)
    assert len(gateway.streams) == 1


async def test_patience_begins_anew_with_each_sign_of_life(gateway: FakeGateway) -> None:
    gateway.say("connected")
    for _ in range(8):  # with pauses of 50 to 100 ms each
        gateway.pieces.put_nowait(b": ping\n\n")
        gateway.pieces.put_nowait(LOST)
    gateway.tell(JOB, "completed")
    async with following(gateway, retry_for_s=0.25) as news:
        await anext(news)
        assert isinstance(await anext(news), JobEvent)


def test_lost_events_say_where_to_go_on() -> None:
    assert EventsLost("gone", last_event_id=7).last_event_id == 7
