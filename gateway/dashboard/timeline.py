"""A job's events as a story: attempt by attempt, each step with how long the state before it lasted."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from pydantic_core import from_json

from distriqueue.core.states import TERMINAL
from distriqueue.store.events import Event
from distriqueue.store.reads import Attempt


@dataclass(slots=True)
class Step:
    """A state that the job came into."""

    status: str
    at: datetime
    worker_id: str | None
    lasted_s: float | None = None
    """None for the last one."""
    progress: list[Event] = field(default_factory=list)
    """What was said of its progress meanwhile, the newest last."""


@dataclass(slots=True)
class Chapter:
    """One attempt."""

    number: int
    steps: list[Step]
    attempt: Attempt | None = None
    error: dict[str, Any] | None = None


def tell(events: Sequence[Event], attempts: Sequence[Attempt], now: datetime) -> list[Chapter]:
    """Put events and attempts together, the newest attempt first."""
    chapters: dict[int, Chapter] = {}
    last: Step | None = None
    for event in events:
        chapter = chapters.setdefault(event.attempt, Chapter(event.attempt, []))
        if last is not None and last.status == event.status and event.progress is not None and chapter.steps:
            last.progress.append(event)
            continue
        if last is not None:
            last.lasted_s = max((event.at - last.at).total_seconds(), 0.0)
        last = Step(event.status, event.at, event.worker_id)
        chapter.steps.append(last)
    if last is not None and last.status not in TERMINAL:
        last.lasted_s = max((now - last.at).total_seconds(), 0.0)
    for attempt in attempts:
        chapter = chapters.setdefault(attempt.attempt, Chapter(attempt.attempt, []))
        chapter.attempt = attempt
        chapter.error = from_json(attempt.error) if attempt.error else None
    return [chapters[number] for number in sorted(chapters, reverse=True)]
