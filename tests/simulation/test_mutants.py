"""Every deliberate bug is caught, by its directed scenario or by a random seed; the sound core passes both."""

from __future__ import annotations

import pytest

from tests.simulation.checks import InvariantViolation
from tests.simulation.mutants import MUTANTS, Mutant
from tests.simulation.scenarios import SCENARIOS, Scenario, Stage
from tests.simulation.world import run_seed

_SEEDS = 250
_SOUND = Mutant("sound")
_DIRECTED = {scenario.catches: scenario for scenario in SCENARIOS}


def _play(scenario: Scenario, mutant: Mutant) -> None:
    stage = Stage(
        scenario.node_count,
        core_type=mutant.core_type,
        node_type=mutant.node_type,
        database_type=mutant.database_type,
    )
    scenario.play(stage)


def _hunt(mutant: Mutant) -> None:
    if mutant.name in _DIRECTED:
        _play(_DIRECTED[mutant.name], mutant)
        return
    for seed in range(_SEEDS):
        run_seed(
            seed,
            core_type=mutant.core_type,
            node_type=mutant.node_type,
            database_type=mutant.database_type,
        )


def test_every_scenario_is_there_for_a_mutant() -> None:
    assert _DIRECTED.keys() <= {mutant.name for mutant in MUTANTS}
    assert len(_DIRECTED) == len(SCENARIOS)


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.play.__name__)
def test_the_sound_core_passes_the_scenario(scenario: Scenario) -> None:
    _play(scenario, _SOUND)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_no_mutant_survives(mutant: Mutant) -> None:
    with pytest.raises(InvariantViolation):
        _hunt(mutant)
