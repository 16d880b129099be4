"""The long trial of the cluster: kills, terminations and a busy machine, with figures.

    python -m tests.acceptance.cluster_trial                          # 3 and 5 nodes: 20 kills, 10 terminations each
    python -m tests.acceptance.cluster_trial --nodes 3 --saturate 600 # and ten minutes of CPU saturation

Each figure is seconds. A kill counts until the first commit of a duty under the new epoch is seen, a termination as the
longest time in which no due job was promoted. It ends with 1 when a target is missed.
"""

import argparse
import asyncio
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.acceptance.cluster import Cluster, cluster
from tests.servers.postgres import PostgresServer

P50_S: Final = 1.7
P99_S: Final = 3.0
GAP_S: Final = 0.5
_BUSY: Final = "while True:\n    pass"


def percentile(values: Sequence[float], part: float) -> float:
    """Return the nearest-rank percentile."""
    return sorted(values)[max(math.ceil(part * len(values)) - 1, 0)]


@contextmanager
def saturation() -> Iterator[int]:
    """Keep every processor busy twice over."""
    count = 2 * (os.cpu_count() or 1)
    busy = [subprocess.Popen([sys.executable, "-I", "-S", "-c", _BUSY]) for _ in range(count)]
    try:
        yield count
    finally:
        for each in busy:
            each.kill()
            each.wait(10)


async def kills(nodes: Cluster, count: int) -> list[float]:
    """SIGKILL the leader again and again; each comes back before the next."""
    took = []
    for _ in range(count):
        took.append(await nodes.failover_s())
        await _revive(nodes)
    return took


async def terminations(nodes: Cluster, count: int) -> list[float]:
    """SIGTERM the leader again and again."""
    gaps = []
    for _ in range(count):
        gaps.append(await nodes.handover_gap_s())
        await _revive(nodes)
    return gaps


async def saturated(nodes: Cluster, for_s: float) -> int:
    """Return by how many terms the cluster moved while the machine was busy."""
    await nodes.settled()
    before = await nodes.term()
    with saturation() as count:
        print(f"  {count} busy processes for {for_s:g} s", flush=True)
        await asyncio.sleep(for_s)
    return await nodes.term() - before


async def _revive(nodes: Cluster) -> None:
    for node in nodes.nodes:
        if not node.is_running:
            await node.start()
    await nodes.settled()
    # A node that has just started refuses its vote for the least election timeout: a fair kill finds all ready.
    await asyncio.sleep(1.2)


async def trial(server: PostgresServer, count: int, options: argparse.Namespace) -> bool:
    """Run all with this many nodes, print the figures and tell whether they meet the targets."""
    from distriqueue.store import schema  # noqa: PLC0415 -- alembic takes half a second that --help does not need

    name = await server.create_database()
    await schema.migrate(server.url(name))
    good = True
    with tempfile.TemporaryDirectory(prefix="dq-trial-") as home:
        async with cluster(Path(home), server.url(name), count=count) as nodes:
            print(f"{count} nodes, load of the machine {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores", flush=True)
            if options.kills:
                took = await kills(nodes, options.kills)
                p50, p99 = percentile(took, 0.5), percentile(took, 0.99)
                good &= p50 <= P50_S and p99 <= P99_S
                print(f"  SIGKILL to first commit, {len(took)} times: p50 {p50:.2f}, p99 {p99:.2f}", flush=True)
                print(f"    {' '.join(f'{each:.2f}' for each in took)}", flush=True)
            if options.terminations:
                gaps = await terminations(nodes, options.terminations)
                good &= max(gaps) <= GAP_S
                median = percentile(gaps, 0.5)
                print(f"  SIGTERM gap, {len(gaps)} times: p50 {median:.3f}, max {max(gaps):.3f}", flush=True)
                print(f"    {' '.join(f'{each:.3f}' for each in gaps)}", flush=True)
            if options.saturate:
                moved = await saturated(nodes, options.saturate)
                good &= moved == 0
                print(f"  elections while the machine was busy: {moved}", flush=True)
            epochs = [epoch for epoch, _ in await nodes.history()]
            good &= epochs == sorted(set(epochs))
            print(f"  {len(epochs)} epochs, each claimed once: {epochs == sorted(set(epochs))}", flush=True)
    return good


def main() -> int:
    """Return 0 when every target is met."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=int, action="append", choices=(3, 5), help="3 and 5 if not given")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--terminations", type=int, default=10)
    parser.add_argument("--saturate", type=float, default=0.0, metavar="SECONDS")
    options = parser.parse_args()
    server = PostgresServer()
    try:
        server.start()
        good = [asyncio.run(trial(server, count, options)) for count in options.nodes or (3, 5)]
    finally:
        server.close()
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())
