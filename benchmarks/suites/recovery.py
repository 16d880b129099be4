"""How long work stands still when a process is killed.

`worker`: a worker with 50 slots runs 50 jobs that would take ten minutes; a second one, as large, is idle. The first
is sent SIGKILL. Measured from then: the time until all 50 jobs run again, as their second attempts, and until the
last of them, which now take a second each, has completed. What there is in it is the orchestrator's patience (a
worker is silent after 5 s, a setting; quick: 1 s), its reaper's round, the dispatch and the claim.

`leader`: of three orchestrators the leader is sent SIGKILL, five times a launch (quick: once), each time after the
cluster has settled. Measured from then: the time until Postgres has the next epoch, and until the next leader's first
duty has committed: a job that was due at the kill is pending. The median of the kills, and the worst.
"""

import asyncio
import statistics
import time
from collections.abc import Mapping
from functools import partial
from typing import Final

from benchmarks.load.plan import Plan
from benchmarks.model import Broker, Contender, Metric, Scene, Suite
from benchmarks.systems.orchestrators import orchestrators
from benchmarks.systems.stack import OVER, stack
from tests.acceptance.cluster import Cluster, until

HANDLERS: Final = "benchmarks.systems.work:registry"
JOBS: Final = 50
FIRST_MS: Final = 600_000
LATER_MS: Final = 1_000
RECOVERED_S: Final = 60.0
POLL_S: Final = 0.01
QUICK_TIMEOUT_S: Final = "1"
KILLS: Final = 5
QUICK_KILLS: Final = 1
TAKEN_OVER_S: Final = 30.0
READY_S: Final = 1.2
"""A node that has just started refuses its vote for the least election timeout: a fair kill finds all ready."""

ITEM: Final = f'{{"type":"wait","payload":{{"n":@,"ms":{FIRST_MS},"later_ms":{LATER_MS}}},"executionTimeout":1200}}'
RUN: Final = f"SELECT count(*) = {JOBS} FROM jobs WHERE status = 'running'"
RUN_AGAIN: Final = f"SELECT count(*) = {JOBS} FROM jobs WHERE attempt > 1 AND started_at IS NOT NULL"


async def leader_killed(scene: Scene) -> Mapping[str, float]:
    """Kill the leader again and again."""
    led_s, done_s = [], []
    async with orchestrators(scene, 3) as nodes:
        for number in range(1, (QUICK_KILLS if scene.quick else KILLS) + 1):
            scene.progress(f"kill {number}")
            await asyncio.sleep(READY_S)
            led, done = await _kill_leader(nodes)
            led_s.append(led)
            done_s.append(done)
            for node in nodes.nodes:
                if not node.is_running:
                    await node.start()
            await nodes.settled()
    return {
        "leader": statistics.median(led_s),
        "leader_worst": max(led_s),
        "duty": statistics.median(done_s),
        "duty_worst": max(done_s),
    }


async def _kill_leader(nodes: Cluster) -> tuple[float, float]:
    """Return the seconds until the next epoch and until the first commit of a duty in it."""
    leader, epoch = await nodes.settled(), await nodes.epoch()
    killed_at = await leader.kill()
    job = await nodes.due_job()

    async def claimed() -> bool:
        return await nodes.epoch() > epoch

    await until(claimed, "the next leader", timeout_s=TAKEN_OVER_S)
    led_s = time.monotonic() - killed_at
    return led_s, await nodes.promoted(job, timeout_s=TAKEN_OVER_S) - killed_at


async def worker_killed(broker: Broker, scene: Scene) -> Mapping[str, float]:
    """Kill a worker once, on this broker."""
    settings = {"WORKER_TIMEOUT": QUICK_TIMEOUT_S} if scene.quick else {}
    async with stack(scene, broker, capacity=JOBS, handlers=HANDLERS, settings=settings) as platform:
        scene.progress(f"a worker with {JOBS} jobs")
        await platform.submit(Plan(JOBS, callers=1, batch=JOBS), ITEM)
        await platform.until(RUN, "the start of all jobs", timeout_s=RECOVERED_S)
        await platform.start_worker()
        scene.progress("after its kill")
        killed_at = platform.kill("worker1")
        again_at = await platform.until(RUN_AGAIN, "all jobs' second start", timeout_s=RECOVERED_S, every_s=POLL_S)
        over_at = await platform.until(OVER, "the end of all jobs", timeout_s=RECOVERED_S, every_s=POLL_S)
    return {"again": again_at - killed_at, "completed": over_at - killed_at}


SUITE: Final = Suite(
    name="recovery",
    title="after SIGKILL of a worker with 50 running jobs, and of the leader of three orchestrators",
    metrics=(
        Metric("again", "all 50 run again", "s", "less"),
        Metric("completed", "all 50 completed", "s", "less"),
        Metric("leader", "next leader", "s", "less"),
        Metric("leader_worst", "next leader, worst", "s", "less"),
        Metric("duty", "its first duty", "s", "less"),
        Metric("duty_worst", "its first duty, worst", "s", "less"),
    ),
    contenders=(
        Contender("worker, on RabbitMQ", partial(worker_killed, "rabbitmq")),
        Contender("worker, on Postgres", partial(worker_killed, "postgres"), quick=False),
        Contender("leader of three", leader_killed),
    ),
)
