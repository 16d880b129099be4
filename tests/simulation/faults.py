"""What a seed may do to a cluster: every seed draws its own mix."""

from __future__ import annotations

import random
from dataclasses import dataclass
from enum import StrEnum


class Fault(StrEnum):
    """One kind of disturbance that strikes at a moment."""

    ISOLATE = "isolate"
    PARTITION = "partition"
    ONE_WAY = "one_way"
    MUTE = "mute"
    CUT = "cut"
    PAUSE = "pause"
    CRASH = "crash"
    WIPE = "wipe"
    SLOW_DISK = "slow_disk"
    DATABASE_OUTAGE = "database_outage"
    DATABASE_UNREACHABLE = "database_unreachable"
    TRANSFER = "transfer"


_FORGETS_NOTHING: list[Fault] = [fault for fault in Fault if fault is not Fault.WIPE]


@dataclass(frozen=True, slots=True)
class Mix:
    """The conditions of one seed: a node count, link quality, and which faults strike how often."""

    node_count: int
    latency_max_s: float
    drop: float
    duplicate: float
    late: float
    late_max_s: float
    faults: tuple[Fault, ...]
    fault_gap_s: float
    aims_at_leader: float
    clock_drift: float
    crash_after_answer: float
    misconfigured: bool
    chaos_s: float

    @property
    def forgets(self) -> bool:
        """Whether a node may lose its votes or count another quorum: only the fence holds then."""
        return self.misconfigured or Fault.WIPE in self.faults


def draw_mix(rng: random.Random) -> Mix:
    """Draws the conditions of a seed; a few faults at a time find more than all of them at once."""
    faults = rng.sample(_FORGETS_NOTHING, rng.randint(1, 5))
    if rng.random() < 0.1:
        faults.append(Fault.WIPE)
    lossy = rng.random() < 0.5
    return Mix(
        node_count=rng.choice((1, 2, 3, 3, 3, 3, 4, 5, 5)),
        latency_max_s=rng.choice((0.005, 0.005, 0.05, 0.3)),
        drop=rng.uniform(0.0, 0.3) if lossy else 0.0,
        duplicate=rng.uniform(0.0, 0.2) if lossy else 0.0,
        late=rng.choice((0.0, 0.02, 0.1, 0.3)),
        late_max_s=rng.choice((0.1, 0.5, 2.5)),
        faults=tuple(faults),
        fault_gap_s=rng.choice((0.2, 0.5, 1.0)),
        aims_at_leader=rng.choice((0.0, 0.5)),
        clock_drift=rng.choice((0.0, 0.02, 0.02)),
        crash_after_answer=rng.choice((0.0, 0.0, 0.003, 0.02)),
        misconfigured=rng.random() < 0.04,
        chaos_s=rng.uniform(10.0, 30.0),
    )
