"""What a page's stream sends, and when."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest

from distriqueue.core.access import ANONYMOUS, STRANGER
from distriqueue.core.errors import NotFound, StoreUnavailable
from gateway.dashboard import live
from gateway.dashboard.desk import Ask
from gateway.dashboard.live import _frames
from gateway.dashboard.views import Context, Memo, Regions, View
from tests.unit.gateway.dashboard.desks import ask, desk


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "LEAST_PACE_S", 0.01)


def page(*turns: "Regions | Exception") -> View:
    left: Iterator[Regions | Exception] = iter(turns)

    async def read(_ask: Ask) -> Context:
        raise AssertionError("it is filled by hand")

    async def follow(at: Ask) -> AsyncIterator[Regions]:
        notice = live.Notice(at)
        for turn in left:
            yield notice.of(turn) if isinstance(turn, StoreUnavailable | NotFound) else turn  # type: ignore[misc]

    return View("page", "none", read, pace_s=0.0, follow=follow)


async def sent(view: View, at: Ask) -> list[str]:
    async with asyncio.timeout(5):
        return [frame.decode() async for frame in _frames(view, at, Memo())]


async def test_only_what_has_changed_is_sent_again() -> None:
    frames = await sent(page({"a": "1", "b": "2"}, {"a": "1", "b": "2"}, {"a": "1", "b": "3"}), ask())
    assert len(frames) == 2
    assert 'hx-target="#a"' in frames[0]
    assert 'hx-target="#a"' not in frames[1]
    assert '<hx-partial hx-target="#b" hx-swap="innerMorph">3</hx-partial>' in frames[1]


async def test_lines_stay_lines() -> None:
    (frame,) = await sent(page({"a": "<pre>one\ntwo\n\nthree</pre>"}), ask())
    data = [line.removeprefix("data: ") for line in frame.splitlines() if line.startswith("data:")]
    assert "<pre>one\ntwo\n\nthree</pre>" in "\n".join(data)
    assert frame.endswith("\n\n")
    assert frame.startswith("id: 1\n")


async def test_what_cannot_be_read_leaves_the_page_as_it_is() -> None:
    frames = await sent(
        page({"a": "1", "notice": ""}, StoreUnavailable("Postgres is <away>"), {"a": "1", "notice": ""}), ask()
    )
    assert "Postgres is &lt;away&gt;" in frames[1]
    assert 'hx-target="#a"' not in frames[1]
    assert '<hx-partial hx-target="#notice" hx-swap="innerMorph"></hx-partial>' in frames[2]


async def test_it_ends_when_the_gateway_is_about_to() -> None:
    async def read(_ask: Ask) -> Context:
        return {}

    async def forever(_ask: Ask) -> AsyncIterator[Regions]:
        while True:
            yield {"a": "1"}

    at = ask()
    stream = _frames(View("page", "none", read, pace_s=60.0, follow=forever), at, Memo())
    async with asyncio.timeout(5):
        await anext(stream)
        at.parts.hub.closed.set()
        assert [frame async for frame in stream] == []


class TestMemo:
    async def test_who_looks_at_the_same_shares_one_reading(self) -> None:
        readings = 0

        async def read(_ask: Ask) -> Context:
            nonlocal readings
            readings += 1
            await asyncio.sleep(0.01)
            return {}

        view, memo, at = View("v", "none", read, pace_s=60.0), Memo(), desk()
        async with asyncio.TaskGroup() as group:
            for _ in range(20):
                group.create_task(memo.fill(view, ask(at=at)))
        assert readings == 1
        await memo.fill(view, ask(at=at, id="another"))
        assert readings == 2
        await memo.fill(view, ask(STRANGER, at=at))
        assert readings == 3, "what one may see is not what all may see"
        assert ANONYMOUS.scopes != STRANGER.scopes

    async def test_after_the_pace_it_is_read_again(self) -> None:
        readings = 0

        async def read(_ask: Ask) -> Context:
            nonlocal readings
            readings += 1
            return {}

        view, memo, at = View("v", "none", read, pace_s=0.0), Memo(), desk()
        await memo.fill(view, ask(at=at))
        await memo.fill(view, ask(at=at))
        assert readings == 2

    async def test_a_reading_that_failed_is_made_again(self) -> None:
        answers: Iterator[Exception | None] = iter([StoreUnavailable("away"), None])

        async def read(_ask: Ask) -> Context:
            answer = next(answers)
            if answer is not None:
                raise answer
            return {}

        view, memo, at = View("v", "none", read, pace_s=60.0), Memo(), desk()
        with pytest.raises(StoreUnavailable):
            await memo.fill(view, ask(at=at))
        assert await memo.fill(view, ask(at=at)) == {}
