"""What launches gave: medians with their spread, ratios, and whether targets are met. Pure."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from benchmarks.model import Contender, Metric, Suite, Target

FORMAT: Final = 1
"""Of the JSON; raised when its shape changes."""


@dataclass(frozen=True, slots=True)
class Launch:
    """One launch of one contender: its figures, or why there are none."""

    contender: str
    round: int
    took_s: float
    figures: Mapping[str, float]
    failure: str | None = None


@dataclass(frozen=True, slots=True)
class Spread:
    """Several launches' figures of one metric."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, figures: Sequence[float]) -> "Spread":
        """Sum up at least one figure."""
        return cls(statistics.median(figures), min(figures), max(figures))

    @property
    def relative(self) -> float:
        """Return how far least and most lie apart, as a share of the median."""
        return (self.most - self.least) / self.median if self.median else 0.0


@dataclass(frozen=True, slots=True)
class Verdict:
    """A target and what was measured; None where a contender gave no figure."""

    target: Target
    value: float | None
    bound: float | None
    """What the value is held against: the factor times the reference's median."""

    @property
    def ratio(self) -> float | None:
        """The value as a multiple of the reference, or of the bound where there is no reference."""
        if self.value is None or not self.bound:
            return None
        return self.value / self.bound * (self.target.factor if self.target.against else 1.0)

    @property
    def met(self) -> bool | None:
        """Whether it holds; None when that is unknown."""
        if self.value is None or self.bound is None:
            return None
        return self.value >= self.bound if self.target.relation == ">=" else self.value <= self.bound


@dataclass(frozen=True, slots=True)
class Result:
    """One suite's launches."""

    suite: Suite
    launches: tuple[Launch, ...]

    @property
    def failures(self) -> tuple[Launch, ...]:
        """The launches that gave nothing."""
        return tuple(launch for launch in self.launches if launch.failure is not None)

    def of(self, contender: str) -> tuple[Launch, ...]:
        """Return a contender's launches, by round."""
        return tuple(launch for launch in self.launches if launch.contender == contender)

    def spread(self, contender: str, metric: str) -> Spread | None:
        """Return the figures of the launches that did not fail; None when there are none."""
        figures = [launch.figures[metric] for launch in self.of(contender) if metric in launch.figures]
        return Spread.of(figures) if figures else None

    def ratio(self, contender: str, metric: str, against: str) -> float | None:
        """Return the contender's median as a multiple of another's."""
        ours, theirs = self.spread(contender, metric), self.spread(against, metric)
        return ours.median / theirs.median if ours and theirs and theirs.median else None

    def references(self) -> tuple[tuple[Metric, str], ...]:
        """Return each metric with each contender that targets compare it with."""
        named = dict.fromkeys((t.metric, t.against) for t in self.suite.targets if t.against is not None)
        by_key = {metric.key: metric for metric in self.suite.metrics}
        return tuple((by_key[key], against) for key, against in named)

    def verdicts(self) -> tuple[Verdict, ...]:
        """Hold the medians against the targets."""
        return tuple(self._verdict(target) for target in self.suite.targets)

    def _verdict(self, target: Target) -> Verdict:
        value = self.spread(target.contender, target.metric)
        if target.against is None:
            bound: float | None = target.factor
        else:
            reference = self.spread(target.against, target.metric)
            bound = target.factor * reference.median if reference else None
        return Verdict(target, value.median if value else None, bound)

    def as_json(self) -> dict[str, Any]:
        """Return everything, each launch's raw figures included."""
        return {
            "name": self.suite.name,
            "title": self.suite.title,
            "metrics": [asdict(metric) for metric in self.suite.metrics],
            "contenders": [self._contender(contender) for contender in self.suite.contenders],
            "targets": [
                {**asdict(verdict.target), "value": verdict.value, "bound": verdict.bound, "met": verdict.met}
                for verdict in self.verdicts()
            ],
        }

    def _contender(self, contender: Contender) -> dict[str, Any]:
        spreads = {metric.key: self.spread(contender.name, metric.key) for metric in self.suite.metrics}
        return {
            "name": contender.name,
            "guarantees": asdict(contender.guarantees) if contender.guarantees else None,
            "summary": {key: asdict(spread) for key, spread in spreads.items() if spread is not None},
            "launches": [
                {
                    "round": launch.round,
                    "took_s": launch.took_s,
                    "figures": dict(launch.figures),
                    "failure": launch.failure,
                }
                for launch in self.of(contender.name)
            ],
        }


@dataclass(frozen=True, slots=True)
class Share:
    """What part of a limit, of the suite `limits`, a contender of another suite reaches in the same run."""

    suite: str
    contender: str
    metric: str
    limit: str
    limit_metric: str

    def of(self, results: Sequence[Result]) -> float | None:
        """Return it; None where one of the two was not measured."""
        reached = limit = None
        for result in results:
            if result.suite.name == self.suite:
                reached = result.spread(self.contender, self.metric)
            elif result.suite.name == "limits":
                limit = result.spread(self.limit, self.limit_metric)
        return reached.median / limit.median if reached and limit and limit.median else None
