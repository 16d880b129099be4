"""The two measurements that all systems are put through, whatever they are made of."""

import math
import statistics
from collections.abc import Sequence
from typing import Final

from benchmarks.load.plan import WARM, Plan
from benchmarks.model import Metric, Scene
from benchmarks.systems.system import System

RATE: Final = Metric("rate", "end to end", "/s", "more")
ACCEPTED: Final = Metric("accepted", "submitted", "/s", "more")
LATENCIES: Final = tuple(
    Metric(f"{step}_{quantile}", f"{title} {quantile}", "ms", "less")
    for step, title in (("submit", "submit"), ("start", "until start"), ("done", "until completed"))
    for quantile in ("p50", "p99")
)
QUICK_PART: Final = 100
QUICK_LEAST: Final = 20
WARM_UP: Final = 200
"""Jobs that run before the clock does: connections are open, code is imported, plans are cached."""


async def rate(system: System, scene: Scene, *, jobs: int, callers: int, batch: int = 1) -> dict[str, float]:
    """Submit as fast as `callers` at once can, and see how long it takes until the last job has ended.

    The rate is jobs over the time from the first submission to the last end; `accepted` is over the time to the last
    answer to a submission.
    """
    if scene.quick:
        jobs, batch = max(QUICK_LEAST, jobs // QUICK_PART), max(1, batch // QUICK_PART)
    warm = await _warm_up(system, scene, batch)
    scene.progress(f"{jobs} jobs" + (f" in batches of {batch}" if batch > 1 else ""))
    submitted = await system.submit(Plan(jobs, callers, batch))
    await system.until_ended(jobs + warm)
    ends = [end for number, end in (await system.ends(submitted.wall_ns)).items() if number > WARM]
    assert len(ends) == jobs, f"{len(ends)} of {jobs} jobs have an end"
    return {
        RATE.key: jobs / (max(ends) - submitted.first_ns) * 1e9,
        ACCEPTED.key: jobs / (submitted.last_ns - submitted.first_ns) * 1e9,
    }


async def latency(system: System, scene: Scene, *, per_s: float, seconds: float, callers: int) -> dict[str, float]:
    """Submit at a fixed rate, whatever the system does; all times count from when a submission was due."""
    jobs = int(per_s * (1 if scene.quick else seconds))
    warm = await _warm_up(system, scene, 1)
    scene.progress(f"{jobs} jobs at {per_s:g}/s")
    submitted = await system.submit(Plan(jobs, callers, per_s=per_s))
    await system.until_ended(jobs + warm)
    ends, starts = await system.ends(submitted.wall_ns), {m.number: m.started_ns for m in system.marks.read()}
    times = {
        "submit": submitted.submit_ms(),
        "start": [(starts[number] - due) / 1e6 for number, due in enumerate(submitted.due_ns)],
        "done": [(ends[number] - due) / 1e6 for number, due in enumerate(submitted.due_ns)],
    }
    return {
        f"{step}_{name}": quantile(taken, share)
        for step, taken in times.items()
        for name, share in (("p50", 0.5), ("p99", 0.99))
    }


def quantile(values: Sequence[float], share: float) -> float:
    """Return the least value that `share` of the values do not exceed."""
    if share == 0.5:
        return statistics.median(values)
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


async def _warm_up(system: System, scene: Scene, batch: int) -> int:
    """Run some jobs with numbers below 0, and return how many."""
    scene.progress("warming up")
    jobs = max(batch, QUICK_LEAST if scene.quick else WARM_UP)
    await system.submit(Plan(jobs, min(8, jobs), batch, first=WARM - jobs + 1))
    await system.until_ended(jobs)
    return jobs
