"""Runs a suite: every contender once a round, in an order that rotates, whatever fails."""

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from benchmarks.model import Contender, Scene, Suite
from benchmarks.results import Launch, Result

Say = Callable[[str], None]
Scenes = Callable[[Say], AbstractAsyncContextManager[Scene]]
"""Makes an empty scene for one launch; what it says goes to the callable."""


class Observer(Protocol):
    """Is told how far a run is."""

    def begins(self, suite: Suite, contender: Contender, number: int) -> None:
        """Hear that a launch of the round `number`, from 1, begins."""

    def says(self, text: str) -> None:
        """Hear what the launch is doing."""

    def ends(self, suite: Suite, launch: Launch) -> None:
        """Hear what it gave."""


def order(contenders: Sequence[Contender], number: int) -> tuple[Contender, ...]:
    """Return the order of a round, from 1: each begins one contender later, so that none is always the first."""
    first = (number - 1) % len(contenders)
    return (*contenders[first:], *contenders[:first])


async def run(suite: Suite, scenes: Scenes, *, launches: int, launch_s: float, observer: Observer) -> Result:
    """Launch every contender `launches` times, each for at most `launch_s` seconds.

    One whose launch fails has no figures from it; the others go on.
    """
    given: list[Launch] = []
    for number in range(1, launches + 1):
        for contender in order(suite.contenders, number):
            observer.begins(suite, contender, number)
            given.append(await _launch(contender, number, scenes, launch_s, observer.says))
            observer.ends(suite, given[-1])
    return Result(suite, tuple(given))


async def _launch(contender: Contender, number: int, scenes: Scenes, launch_s: float, say: Say) -> Launch:
    started = time.monotonic()
    figures: Mapping[str, float] = {}
    failure: str | None = None
    try:
        async with scenes(say) as scene, asyncio.timeout(launch_s):
            figures = await contender.launch(scene)
    except TimeoutError as exc:
        failure = str(exc) or f"not within {launch_s:g} s"
    except Exception as exc:  # noqa: BLE001 -- a contender is others' code: what it raises is its result
        failure = "; ".join(_reasons(exc))
    return Launch(contender.name, number, time.monotonic() - started, dict(figures), failure)


def _reasons(exc: BaseException) -> Iterator[str]:
    if isinstance(exc, BaseExceptionGroup):
        for each in exc.exceptions:
            yield from _reasons(each)
    else:
        yield f"{type(exc).__name__}: {exc}"
