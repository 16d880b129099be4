"""`./build-run.sh bench`, or `python -m benchmarks [NAME …]`: real servers, contenders by turns, medians and ratios.

Exits with 1 when a launch failed, whatever was fast or slow: performance is no test.
"""

import argparse
import asyncio
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Final

from benchmarks import machine, runner
from benchmarks.model import Suite
from benchmarks.report import Display, console, show, show_shares
from benchmarks.results import FORMAT, Result
from benchmarks.scene import servers
from benchmarks.suites import NAMES, load
from benchmarks.suites.limits import SHARES

LAUNCHES: Final = 5
LAUNCH_S: Final = 1800.0
QUICK_LAUNCH_S: Final = 60.0


def main() -> int:
    """Run from the command line."""
    arguments = _parser().parse_args()
    if arguments.list:
        for name in NAMES:
            suite = load(name)
            print(f"{name:12} {suite.title}\n{'':12} {', '.join(each.name for each in suite.contenders)}")
        return 0
    suites = [_chosen(load(name), arguments.only, quick=arguments.quick) for name in arguments.names or NAMES]
    suites = [suite for suite in suites if suite.contenders]
    if not suites:
        sys.stderr.write(f"no contender has {' or '.join(map(repr, arguments.only))} in its name\n")
        return 2
    launches = arguments.launches or (1 if arguments.quick else LAUNCHES)
    try:
        return asyncio.run(_run(suites, launches, arguments))
    except KeyboardInterrupt:
        sys.stderr.write("interrupted: all servers are ended\n")
        return 130


async def _run(suites: Sequence[Suite], launches: int, arguments: argparse.Namespace) -> int:
    out, facts = console(), machine.facts()
    launch_s = QUICK_LAUNCH_S if arguments.quick else LAUNCH_S
    results: list[Result] = []
    async with servers(quick=arguments.quick) as private:
        with Display(out, launches * sum(len(suite.contenders) for suite in suites)) as display:
            for suite in suites:
                results.append(
                    await runner.run(suite, private.scene, launches=launches, launch_s=launch_s, observer=display)
                )
                show(out, results[-1])
                if arguments.json is not None:  # after each suite: what was measured outlives what breaks later
                    _write_json(arguments.json, facts, results, quick=arguments.quick, launches=launches)
        facts |= await private.facts()
    show_shares(out, [(each, each.of(results)) for each in SHARES])
    if arguments.json is not None:
        _write_json(arguments.json, facts, results, quick=arguments.quick, launches=launches)
    if arguments.plots is not None:
        from benchmarks import plots  # noqa: PLC0415 -- matplotlib is only there with the group `bench`

        for path in plots.draw(results, arguments.plots):
            out.print(f"plotted {path}")
    out.print()
    out.print(", ".join(f"{name}: {value}" for name, value in facts.items()), markup=False)
    return _verdict(results, quick=arguments.quick)


def _verdict(results: Sequence[Result], *, quick: bool) -> int:
    verdicts = [verdict for result in results for verdict in result.verdicts()]
    missed = sum(verdict.met is False for verdict in verdicts)
    failures = [launch for result in results for launch in result.failures]
    if quick:
        print("a quick run shows that everything runs; its figures mean nothing")
    print(
        f"{sum(verdict.met is True for verdict in verdicts)} targets met, {missed} missed: no error, speed is no test"
    )
    for launch in failures:
        print(f"failed: {launch.contender}, round {launch.round}: {launch.failure}")
    return 1 if failures else 0


def _write_json(path: Path, facts: dict[str, str], results: Sequence[Result], *, quick: bool, launches: int) -> None:
    document: dict[str, Any] = {
        "format": FORMAT,
        "machine": facts,
        "quick": quick,
        "launches": launches,
        "suites": [result.as_json() for result in results],
        "shares": [asdict(share) | {"share": share.of(results)} for share in SHARES],
    }
    path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def _chosen(suite: Suite, texts: Sequence[str], *, quick: bool) -> Suite:
    """Return the suite with those contenders whose names hold one of the texts; without texts, those of such a run."""
    if texts:
        kept = tuple(each for each in suite.contenders if any(text in each.name for text in texts))
    else:
        kept = tuple(each for each in suite.contenders if each.quick or not quick)
    return replace(suite, contenders=kept)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="./build-run.sh bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", choices=[*NAMES, []], help=f"suites: {', '.join(NAMES)}")
    parser.add_argument("--quick", action="store_true", help="one launch with little load: does everything run?")
    parser.add_argument("--launches", type=int, help=f"of each contender ({LAUNCHES}; 1 with --quick)")
    parser.add_argument("--only", action="append", default=[], metavar="TEXT", help="contenders whose names hold this")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every launch's figures")
    parser.add_argument("--plots", type=Path, metavar="DIR", help="draw a PNG of each suite")
    parser.add_argument("--list", action="store_true", help="what there is to run")
    return parser


if __name__ == "__main__":
    sys.exit(main())
