"""Runs seeds from the command line."""

from __future__ import annotations

import argparse
import sys
import time

from tests.simulation.checks import InvariantViolation
from tests.simulation.world import run_seed


def main() -> int:
    """Runs the seeds that were asked for; 1 if any fails."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seed", type=int, help="run this one seed")
    parser.add_argument("--first", type=int, default=0, metavar="K", help="start at seed K")
    parser.add_argument("--seeds", type=int, default=2000, metavar="N", help="run N seeds")
    parser.add_argument("--verbose", action="store_true", help="print every event")
    options = parser.parse_args()
    seeds = range(options.first, options.first + options.seeds) if options.seed is None else [options.seed]

    failed = 0
    started_s = time.perf_counter()
    for seed in seeds:
        try:
            run_seed(seed, trace=print if options.verbose else None)
        except InvariantViolation as violation:
            failed += 1
            print(violation)
    took_s = time.perf_counter() - started_s
    print(f"{len(seeds)} seeds, {failed} failed, {len(seeds) / took_s:.0f} seeds/s")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
