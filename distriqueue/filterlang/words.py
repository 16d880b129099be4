"""What a filter can speak of, and how it is told that it cannot."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from distriqueue.core.errors import InvalidRequest
from distriqueue.core.job import Priority
from distriqueue.core.states import Status


class Field(StrEnum):
    """What a term can speak of; the value is its spelling."""

    STATUS = "status"
    TYPE = "type"
    PRIORITY = "priority"
    TAG = "tag"
    WORKER = "worker"
    BATCH = "batch"
    SCHEDULE = "schedule"
    CREATED = "created"
    PAYLOAD = "payload"
    """With a path behind it: `payload.user.id`."""


VALUES: Final[Mapping[Field, tuple[str, ...]]] = {
    Field.STATUS: tuple(status.value for status in Status),
    Field.PRIORITY: tuple(priority.value.lower() for priority in Priority),
    Field.CREATED: ("<1h", "<1d", "<7d", ">1d"),
}
"""What completion offers where the values are few."""

EXAMPLES: Final[Mapping[Field, str]] = {
    Field.STATUS: "status:failed",
    Field.TYPE: "type:calculate",
    Field.PRIORITY: "priority:high",
    Field.TAG: "tag:nightly",
    Field.WORKER: "worker:worker1.3f9a1c",
    Field.BATCH: "batch:0190c2d4-7e3b-7c3a-9c1e-2f4b8a6d5e10",
    Field.SCHEDULE: "schedule:nightly",
    Field.CREATED: "created:<2h",
    Field.PAYLOAD: "payload.user.id:7",
}


class WrongFilter(InvalidRequest):
    """The text is no filter: `text[start:end]` is wrong, `suggestion` (if any) would be right in its place."""

    code = "wrong_filter"

    def __init__(self, message: str, *, text: str, start: int, end: int, suggestion: str | None = None) -> None:
        super().__init__(f"{message}: did you mean {suggestion}?" if suggestion else message)
        self.text = text
        self.start = start
        self.end = end
        self.suggestion = suggestion

    def pointed(self) -> str:
        """Return the text, and under it a line that marks what is wrong; for a terminal."""
        shown = "".join(char if char.isprintable() else " " for char in self.text)
        return f"{shown}\n{' ' * self.start}{'^' * max(self.end - self.start, 1)}"
