"""The invariants hold on 2,000 seeds, and a failing seed says how to replay it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.simulation.checks import InvariantViolation
from tests.simulation.mutants import MUTANTS
from tests.simulation.world import replay_line, run_seed

_CHUNKS = 8
_SEEDS_PER_CHUNK = 250


@pytest.mark.parametrize("chunk", range(_CHUNKS))
def test_invariants_hold_on_every_seed(chunk: int) -> None:
    for seed in range(chunk * _SEEDS_PER_CHUNK, (chunk + 1) * _SEEDS_PER_CHUNK):
        run_seed(seed)


def test_a_seed_always_runs_the_same() -> None:
    traces: list[list[str]] = [[], []]
    for trace in traces:
        run_seed(7, trace=trace.append)
    assert len(traces[0]) > 100
    assert traces[0] == traces[1]


def test_a_failing_seed_names_the_one_line_that_replays_it() -> None:
    mutant = MUTANTS[0]
    with pytest.raises(InvariantViolation) as caught:
        run_seed(1, node_type=mutant.node_type)
    lines = [line for line in str(caught.value).splitlines() if "replay" in line]
    assert lines == [f"replay: {replay_line(1)}"]


def test_the_replay_line_works() -> None:
    command = [sys.executable, *replay_line(3).split()[1:], "--verbose"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert "leader term" in done.stdout
    assert "seeds/s" in done.stdout
