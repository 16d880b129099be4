"""How a run goes through its contenders."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest

from benchmarks import runner
from benchmarks.model import Contender, Metric, Scene, Suite
from benchmarks.results import Launch


class NoScene:
    """A scene without servers."""

    home = Path("nowhere")
    quick = False

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say

    async def database(self) -> str:
        raise AssertionError

    async def rabbitmq(self) -> str:
        raise AssertionError

    def progress(self, text: str) -> None:
        self._say(text)


class Listener:
    """Hears everything."""

    def __init__(self) -> None:
        self.begun: list[tuple[int, str]] = []
        self.said: list[str] = []
        self.ended: list[Launch] = []

    def begins(self, suite: Suite, contender: Contender, number: int) -> None:
        assert contender in suite.contenders
        self.begun.append((number, contender.name))

    def says(self, text: str) -> None:
        self.said.append(text)

    def ends(self, suite: Suite, launch: Launch) -> None:
        assert launch.contender in [each.name for each in suite.contenders]
        self.ended.append(launch)


class Scenes:
    """Counts the scenes that are open."""

    def __init__(self) -> None:
        self.open = 0

    @asynccontextmanager
    async def __call__(self, say: Callable[[str], None]) -> AsyncIterator[Scene]:
        self.open += 1
        try:
            yield NoScene(say)
        finally:
            self.open -= 1


async def good(scene: Scene) -> Mapping[str, float]:
    scene.progress("working")
    return {"rate": 1.0}


def suite(*contenders: Contender) -> Suite:
    return Suite("some", "Some", (Metric("rate", "rate", "/s", "more"),), contenders)


def test_each_contender_is_first_in_turn_and_in_every_round() -> None:
    contenders = [Contender(name, good) for name in "abc"]
    rounds = ["".join(each.name for each in runner.order(contenders, number)) for number in range(1, 5)]
    assert rounds == ["abc", "bca", "cab", "abc"]


async def test_rounds_are_interleaved() -> None:
    listener = Listener()
    result = await runner.run(
        suite(Contender("a", good), Contender("b", good)), Scenes(), launches=3, launch_s=5, observer=listener
    )
    assert listener.begun == [(1, "a"), (1, "b"), (2, "b"), (2, "a"), (3, "a"), (3, "b")]
    assert Counter(launch.contender for launch in result.launches) == {"a": 3, "b": 3}
    assert [launch.round for launch in result.of("b")] == [1, 2, 3]
    assert listener.said == ["working"] * 6
    assert tuple(listener.ended) == result.launches


async def test_one_that_fails_says_why_and_the_others_go_on() -> None:
    async def bad(_scene: Scene) -> Mapping[str, float]:
        raise ExceptionGroup("several", [ValueError("one"), ExceptionGroup("inner", [OSError("two")])])

    async def slow(_scene: Scene) -> Mapping[str, float]:
        await asyncio.Event().wait()
        return {}

    scenes = Scenes()
    contenders = (Contender("bad", bad), Contender("slow", slow), Contender("good", good))
    result = await runner.run(suite(*contenders), scenes, launches=2, launch_s=0.05, observer=Listener())
    assert [launch.failure for launch in result.of("bad")] == ["ValueError: one; OSError: two"] * 2
    assert [launch.failure for launch in result.of("slow")] == ["not within 0.05 s"] * 2
    assert all(launch.took_s < 2 for launch in result.of("slow"))
    assert [launch.figures for launch in result.of("good")] == [{"rate": 1.0}] * 2
    assert len(result.failures) == 4
    assert scenes.open == 0


async def test_a_scene_that_cannot_be_had_is_a_failure_of_the_launch() -> None:
    class NoDisk(AbstractAsyncContextManager[Scene]):
        async def __aenter__(self) -> Scene:
            raise OSError("no disk")

        async def __aexit__(self, *_: object) -> None:
            raise AssertionError("it was never entered")

    only = suite(Contender("a", good))
    result = await runner.run(only, lambda _say: NoDisk(), launches=1, launch_s=5, observer=Listener())
    assert [launch.failure for launch in result.launches] == ["OSError: no disk"]


async def test_an_interrupted_run_leaves_no_scene() -> None:
    started, scenes = asyncio.Event(), Scenes()

    async def waits(_scene: Scene) -> Mapping[str, float]:
        started.set()
        await asyncio.Event().wait()
        return {}

    async with asyncio.TaskGroup() as group:
        run = group.create_task(
            runner.run(suite(Contender("a", waits)), scenes, launches=5, launch_s=60, observer=Listener())
        )
        await asyncio.wait_for(started.wait(), 5)
        assert scenes.open == 1
        run.cancel()
    assert run.cancelled()
    assert scenes.open == 0


@pytest.mark.parametrize("number", [1, 2, 7])
def test_a_round_of_one_contender(number: int) -> None:
    only = Contender("a", good)
    assert runner.order([only], number) == (only,)
