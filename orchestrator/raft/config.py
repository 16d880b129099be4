"""Timing of the election, and the randomness it needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

# Sound for clock rates that differ by up to 2 % either way: fraction / 0.98 must stay below 1 / 1.02.
_MAX_LEASE_FRACTION = 0.98 / 1.02


class Rng(Protocol):
    """The part of `random.Random` that the core uses."""

    def uniform(self, a: float, b: float, /) -> float:
        """A number between a and b."""


@dataclass(frozen=True, slots=True)
class Config:
    """Timing in seconds, the same on every node. Raises ValueError where election or lease would be unsound."""

    tick_s: float = 0.05
    heartbeat_s: float = 0.15
    election_timeout_min_s: float = 1.0
    election_timeout_max_s: float = 2.0
    lease_fraction: float = 0.9

    def __post_init__(self) -> None:
        if not 0 < self.tick_s <= self.heartbeat_s:
            raise ValueError("tick_s must be positive and at most heartbeat_s")
        if not 2 * self.heartbeat_s < self.election_timeout_min_s:
            raise ValueError("election_timeout_min_s must be more than two heartbeats")
        if not self.election_timeout_min_s < self.election_timeout_max_s:
            raise ValueError("election_timeout_max_s must be above the minimum, or votes split forever")
        if not 0 < self.lease_fraction < _MAX_LEASE_FRACTION:
            raise ValueError(f"lease_fraction must be positive and below {_MAX_LEASE_FRACTION:.3f}")

    @property
    def lease_s(self) -> float:
        """How long one acknowledged heartbeat holds off other leaders."""
        return self.lease_fraction * self.election_timeout_min_s

    def draw_election_timeout_s(self, rng: Rng) -> float:
        """Uniform, so that nodes seldom time out together (Ongaro 2014 §3.4)."""
        return rng.uniform(self.election_timeout_min_s, self.election_timeout_max_s)

    def draw_retry_s(self, rng: Rng) -> float:
        """How long to wait after a refusal: an RPC lives less than half a minimum timeout, so all answers are in."""
        return rng.uniform(self.election_timeout_min_s / 2, self.election_timeout_min_s)
