"""Graphs, sparklines and timelines, laid out."""

import json
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

from distriqueue.store.dashboard import Relative
from distriqueue.store.events import Event
from distriqueue.store.reads import Attempt
from gateway.dashboard.charts import sparkline
from gateway.dashboard.graph import MOST, lay_out
from gateway.dashboard.timeline import tell

JOB = UUID(int=1)
START = datetime(2030, 1, 1, tzinfo=UTC)


def relative(name: str = "job") -> Relative:
    return Relative(uuid4(), name, "completed")


def event(seq: int, status: str, at_s: float, *, attempt: int = 1, progress: float | None = None) -> Event:
    at = START + timedelta(seconds=at_s)
    return Event(seq, at, JOB, attempt, status, "t", "LOW", "w1", progress, None, None)


class TestGraph:
    def test_a_job_by_itself_has_none(self) -> None:
        assert lay_out(relative(), [], []) is None

    def test_three_columns_with_a_line_for_each_relative(self) -> None:
        here, parents, children = relative(), [relative(), relative()], [relative()]
        graph = lay_out(here, parents, children)
        assert graph is not None
        columns = sorted({box.x for box in graph.boxes})
        assert [[box.id for box in graph.boxes if box.x == x] for x in columns] == [
            [each.id for each in parents],
            [here.id],
            [children[0].id],
        ]
        assert len(graph.lines) == 3
        places = [(box.x, box.y) for box in graph.boxes]
        assert len(set(places)) == len(places)
        assert all(0 <= x < graph.width and 0 <= y < graph.height for x, y in places)

    def test_more_than_fit_are_counted(self) -> None:
        graph = lay_out(relative(), [], [relative("x" * 50) for _ in range(MOST + 3)])
        assert graph is not None
        assert graph.more_children == 3
        assert len(graph.boxes) == MOST + 1
        assert graph.boxes[1].name.endswith("…")


class TestSparkline:
    def test_the_largest_is_at_the_top_and_zero_at_the_bottom(self) -> None:
        drawn = str(sparkline([0, 5, 10]))
        assert "0.0,26.5 60.0,14.0 120.0,1.5" in drawn
        assert "style" not in drawn

    def test_zeros_and_nothing(self) -> None:
        assert "120.0,26.5" in str(sparkline([0, None]))
        assert "poly" not in str(sparkline([1]))


class TestTimeline:
    def test_each_step_lasts_until_the_next(self) -> None:
        events = [event(1, "pending", 0), event(2, "running", 1.5), event(3, "completed", 4)]
        (chapter,) = tell(events, [], START + timedelta(hours=1))
        assert [(step.status, step.lasted_s) for step in chapter.steps] == [
            ("pending", 1.5),
            ("running", 2.5),
            ("completed", None),
        ]

    def test_the_last_state_of_an_open_job_lasts_until_now(self) -> None:
        (chapter,) = tell([event(1, "pending", 0)], [], START + timedelta(seconds=9))
        assert chapter.steps[0].lasted_s == 9

    def test_progress_belongs_to_its_step(self) -> None:
        events = [event(1, "running", 0), event(2, "running", 1, progress=10), event(3, "running", 2, progress=60)]
        (chapter,) = tell(events, [], START)
        assert [len(step.progress) for step in chapter.steps] == [2]

    def test_attempts_newest_first_with_their_errors(self) -> None:
        events = [event(1, "running", 0), event(2, "retrying", 1), event(3, "pending", 5, attempt=2)]
        error = json.dumps({"type": "E", "message": "m"})
        attempts = [Attempt(1, "w1", START, START, "failed", error)]
        chapters = tell(events, attempts, START + timedelta(seconds=6))
        assert [chapter.number for chapter in chapters] == [2, 1]
        assert chapters[1].error == {"type": "E", "message": "m"}
        assert chapters[1].steps[-1].lasted_s == 4
