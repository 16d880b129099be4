"""What a submitting process is told, and what it tells; both cross its pipes as JSON."""

import itertools
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any, Final

WARM: Final = -1
"""Jobs that only warm up have numbers of at most this."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Submit jobs numbered from `first`."""

    jobs: int
    callers: int
    """Submissions under way at once, at most."""
    batch: int = 1
    """Jobs of one submission."""
    per_s: float | None = None
    """Open loop: submissions a second."""
    first: int = 0
    timeout_s: float = 300.0

    def submissions(self) -> list[list[int]]:
        """Return the numbers of the jobs, by submission."""
        numbers = iter(range(self.first, self.first + self.jobs))
        return list(iter(lambda: list(itertools.islice(numbers, self.batch)), []))

    @classmethod
    def read(cls) -> "Plan":
        """Take it from the standard input."""
        return cls(**json.load(sys.stdin))

    def encode(self, **more: Any) -> bytes:
        """Write it for `read`, with what else the submitter wants."""
        return json.dumps({**asdict(self), **more}).encode()


@dataclass(frozen=True, slots=True)
class Submitted:
    """When what was submitted."""

    first_ns: int
    """The first submission began."""
    last_ns: int
    """The last one was answered."""
    wall_ns: int = field(default_factory=lambda: time.time_ns() - time.monotonic_ns())
    """What to add to a time for that of the wall clock, which Postgres tells."""
    due_ns: tuple[int, ...] = ()
    """Open loop: when each submission was due, in order."""
    answered_ns: tuple[int, ...] = ()

    def submit_ms(self) -> list[float]:
        """Return how long each submission took from when it was due."""
        return [(answer - due) / 1e6 for due, answer in zip(self.due_ns, self.answered_ns, strict=True)]

    def tell(self) -> None:
        """Put it on the standard output."""
        print(json.dumps(asdict(self)), flush=True)

    @classmethod
    def decode(cls, text: str | bytes) -> "Submitted":
        """Read what `tell` wrote last."""
        told: dict[str, Any] = json.loads(text.splitlines()[-1])
        return cls(**told | {name: tuple(told[name]) for name in ("due_ns", "answered_ns")})


def due(plan: Plan, started_ns: int) -> Iterator[int]:
    """Return when each submission of an open loop is due."""
    assert plan.per_s is not None
    for place in range(-(-plan.jobs // plan.batch)):
        yield started_ns + int(place * 1e9 / plan.per_s)
