"""Whether more worker processes do more CPU-bound work.

One, two or four workers of one slot each run jobs that each use up 5 ms of CPU in the worker's child process
(`kind="process"`): pure Python, counting until the process's own CPU clock says so. The jobs are submitted by two
POSTs of a batch while the workers are at it. The rate is all jobs divided by the time from the first claim to the
last end, both by Postgres's clock; before that, each worker has run some jobs, so that its child is there.

The machine bounds it: with as many workers as cores all the rest of the platform, Postgres, RabbitMQ and the
benchmark itself share these cores. `used` says what share of all cores' time went into the jobs themselves.
"""

import os
from collections.abc import Mapping
from functools import partial
from typing import Final

from benchmarks.load.plan import WARM, Plan
from benchmarks.model import Contender, Metric, Scene, Suite, Target
from benchmarks.systems.stack import stack

HANDLERS: Final = "benchmarks.systems.work:registry"
CPU_MS: Final = 5.0
WARM_UP: Final = 50
JOBS: Final = 2_000
QUICK_JOBS: Final = 100
SUBMITTERS: Final = 2
OVER_S: Final = 120.0
COUNTS: Final = (1, 2, 4)
CORES: Final = os.cpu_count() or 1
SCALES: Final = 0.8
"""Of what as many cores as there are workers could do more than one."""

ITEM: Final = f'{{"type":"spin","payload":{{"cpu_ms":{CPU_MS}}},"tags":["@"]}}'
RATE: Final = f"""
SELECT count(*) / extract(epoch FROM max(finished_at) - min(started_at))::float8
  FROM jobs WHERE status = 'completed' AND tags[1]::int > {WARM}"""


async def measure(workers: int, scene: Scene) -> Mapping[str, float]:
    """Launch so many workers."""
    jobs = QUICK_JOBS if scene.quick else JOBS
    async with stack(scene, "rabbitmq", workers=workers, capacity=1, handlers=HANDLERS) as platform:
        scene.progress("warming up")
        warm_up = WARM_UP * workers
        await platform.submit(Plan(warm_up, SUBMITTERS, batch=warm_up, first=WARM - warm_up), ITEM)
        await platform.until_over(timeout_s=OVER_S)
        scene.progress(f"{jobs} jobs of {CPU_MS:g} ms CPU on {workers} workers")
        await platform.submit(Plan(jobs, SUBMITTERS, batch=jobs // SUBMITTERS), ITEM)
        await platform.until_over(timeout_s=OVER_S)
        ((rate,),) = await platform.sql(RATE)
    return {"rate": rate, "used": 100 * rate * CPU_MS / 1000 / CORES}


def _name(workers: int) -> str:
    return f"{workers} worker{'s' if workers > 1 else ''}"


SUITE: Final = Suite(
    name="scaling",
    title=f"worker processes on jobs of {CPU_MS:g} ms CPU, on {CORES} cores",
    metrics=(
        Metric("rate", "jobs", "/s", "more"),
        Metric("used", f"of {CORES} cores in jobs", "%", "more"),
    ),
    contenders=tuple(
        Contender(_name(workers), partial(measure, workers), quick=workers == max(COUNTS)) for workers in COUNTS
    ),
    targets=tuple(
        Target(
            f"{_name(workers)} do ≥ {SCALES:g} × {min(workers, CORES)} × what one does, on {CORES} cores",
            "rate",
            _name(workers),
            ">=",
            SCALES * min(workers, CORES),
            _name(1),
        )
        for workers in COUNTS[1:]
    ),
)
