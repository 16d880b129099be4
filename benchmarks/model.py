"""What a benchmark consists of: suites of contenders that are measured by turns, and the targets they are held to."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

Broker = Literal["rabbitmq", "postgres"]


@dataclass(frozen=True, slots=True)
class Metric:
    """One figure of a launch."""

    key: str
    title: str
    unit: str
    """"/s", "ms", "MB", "%", "s"."""
    better: Literal["more", "less"]


@dataclass(frozen=True, slots=True)
class Guarantees:
    """What a contender does for each job, so that unequal work shows; None where it does not apply."""

    durable: bool | None
    """An accepted job outlives a crash of every process and of the machine."""
    confirmed: bool | None
    """The submitter hears of it only once it is durable."""
    results_stored: bool | None
    state_visible: bool | None
    """That a job runs can be seen from outside while it does."""
    note: str = ""


class Scene(Protocol):
    """What one launch stands on. Servers are private, real, and fsync; each launch finds them empty."""

    home: Path
    """An empty directory, removed after the launch."""
    quick: bool
    """Take a fraction of the load: this run is a smoke test."""

    async def database(self) -> str:
        """Return the URL of a fresh database without tables, dropped after the launch."""

    async def rabbitmq(self) -> str:
        """Return the URL of a RabbitMQ without queues of an earlier launch."""

    def progress(self, text: str) -> None:
        """Say what the launch is doing."""


@dataclass(frozen=True, slots=True)
class Contender:
    """One system, or one setting of a system, and how to measure it once."""

    name: str
    launch: Callable[[Scene], Awaitable[Mapping[str, float]]]
    """Starts everything, measures, ends everything; returns figures by the keys of the suite's metrics."""
    guarantees: Guarantees | None = None
    quick: bool = True
    """Whether a quick run launches it; False where it runs nothing that another contender does not run too."""


@dataclass(frozen=True, slots=True)
class Target:
    """What must hold: `contender`'s median of `metric` is at least (or most) `factor` × that of `against`.

    Without `against`, `factor` is the bound itself, in the metric's unit.
    """

    text: str
    metric: str
    contender: str
    relation: Literal[">=", "<="]
    factor: float
    against: str | None = None


@dataclass(frozen=True, slots=True)
class Suite:
    """Contenders that are measured by turns in one run."""

    name: str
    title: str
    metrics: tuple[Metric, ...]
    contenders: tuple[Contender, ...]
    targets: tuple[Target, ...] = field(default=())
