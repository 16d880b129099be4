"""Whether tables stay bounded over 1,000,000 jobs, and what a job takes of the disk and of Postgres's time.

The platform on Postgres as its broker, two workers with the handlers that ship: 1,000,000 jobs (quick: 2,000) that add
two numbers, submitted in batches of 1,000 by 4 connections, in rounds of 25,000, each of which begins when all before
it have ended, so that no backlog is measured along with it. `kept` keeps all. In `forgotten`, the leader deletes jobs
and events that are 5 s old, once a minute, while the next ones run.

- *Stored* is what tables with their indexes and TOAST take after the last job's end, beyond what they took when they
  were empty, by the jobs; nothing was vacuumed but by autovacuum. *Tables* is all of that together, and *growth* how
  much it is of what they took after half of the jobs: twice as much where all is kept, no more where space is used
  again.
- Then all that is to be deleted is waited for, and autovacuum (at most three minutes each). *Dead* is the share of dead
  rows among those of the large tables. *Free* is the part of these that writing them anew gives back, and, where all
  jobs are gone, *left* what all tables take then.
- *Log* (WAL) and *CPU* are Postgres's, up to here, by the jobs: of the CPU time what the gateway and the workers asked
  for, what the leader's duties did (figures, and retention), and vacuum. The rest is checkpoints, writers and the
  beginnings of sessions.
- *HOT* is the share of updates of jobs that made no index entries.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final

from benchmarks.load.plan import Plan
from benchmarks.model import Contender, Metric, Scene, Suite, Target
from benchmarks.systems.server import ServerWork, working
from benchmarks.systems.stack import Stack, stack
from distriqueue.store.leadership import DUTY_CONNECTIONS

WORKERS: Final = 2
CALLERS: Final = 4
ROUND_S: Final = 300.0
GONE_S: Final = 180.0
VACUUMED_S: Final = 180.0
FORGOTTEN_AFTER_S: Final = 5.0
DAYS: Final = f"{FORGOTTEN_AFTER_S / 86_400:.6f}"
FORGET: Final = {"KEEP_EVENTS_DAYS": DAYS, "KEEP_COMPLETED_DAYS": DAYS}
SHOWN: Final = {
    "jobs": ("jobs",),
    "events": ("events",),
    "lists": ("job_listing", "job_tags"),
    "attempts": ("attempts",),
    "queue": ("dispatches",),
}
"""Tables with a figure of their own; the others are in the sum."""
WRITTEN_ANEW: Final = ("jobs", "events", "job_listing")
LARGE: Final = [*WRITTEN_ANEW, "dispatches"]
CLIENTS: Final = ("distriqueue-gateway", "distriqueue-broker")
VACUUM: Final = "autovacuum worker"
TWICE: Final = 2.1
SAME: Final = 1.25
FEW_DEAD: Final = 5.0

ITEM: Final = '{"type":"calculate","payload":{"operation":"sum","numbers":[@,1]}}'
# By the small indexes of what has not ended: to look at the whole table would take more than the jobs do.
ALL_ENDED: Final = """
SELECT NOT EXISTS (SELECT FROM jobs WHERE status = 'pending') AND NOT EXISTS (SELECT FROM jobs WHERE status = 'queued')
   AND NOT EXISTS (SELECT FROM jobs WHERE status = 'running')
   AND NOT EXISTS (SELECT FROM jobs WHERE status IN ('scheduled', 'retrying'))"""
ALL_GONE: Final = "SELECT NOT EXISTS (SELECT FROM jobs) AND NOT EXISTS (SELECT FROM events)"
FAILED: Final = "SELECT count(*) FROM jobs WHERE status IN ('failed', 'timeout', 'cancelled')"
SIZES: Final = """
SELECT c.relname AS name, pg_total_relation_size(c.oid) AS bytes
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind = 'r' AND n.nspname NOT IN ('pg_catalog', 'information_schema')"""
# When autovacuum lets them be, by the tables' own settings.
VACUUMED: Final = f"""
SELECT NOT EXISTS (SELECT FROM pg_stat_progress_vacuum WHERE datname = current_database()) AND bool_and(s.n_dead_tup
       <= coalesce(own.threshold, current_setting('autovacuum_vacuum_threshold')::float8) + greatest(c.reltuples, 0)
       * coalesce(own.scale, current_setting('autovacuum_vacuum_scale_factor')::float8))
  FROM pg_stat_user_tables s
  JOIN pg_class c ON c.oid = s.relid
 CROSS JOIN LATERAL (
       SELECT max(option_value) FILTER (WHERE option_name = 'autovacuum_vacuum_threshold')::float8 AS threshold,
              max(option_value) FILTER (WHERE option_name = 'autovacuum_vacuum_scale_factor')::float8 AS scale
         FROM pg_options_to_table(c.reloptions)) AS own
 WHERE s.relname = ANY (ARRAY {LARGE})"""
ROWS: Final = """
SELECT coalesce(100.0 * sum(n_dead_tup) / nullif(sum(n_live_tup + n_dead_tup), 0), 0)::float8 AS dead,
       coalesce(max(100.0 * n_tup_hot_upd / greatest(n_tup_upd, 1)) FILTER (WHERE relname = 'jobs'), 0)::float8 AS hot
  FROM pg_stat_user_tables WHERE relname = ANY ($1::text[])"""


@dataclass(frozen=True, slots=True)
class Load:
    """How much is run."""

    jobs: int
    """Of one round."""
    rounds: int
    """An even number."""
    batch: int


FULL: Final = Load(25_000, 40, 1_000)
QUICK: Final = Load(1_000, 2, 100)


async def measure(settings: Mapping[str, str], scene: Scene) -> Mapping[str, float]:
    """Launch with these settings; all jobs have gone at the end if they say so."""
    load = QUICK if scene.quick else FULL
    jobs = load.jobs * load.rounds
    async with stack(scene, "postgres", workers=WORKERS, settings=settings) as platform:
        empty = await _sizes(platform)
        async with working(platform.database_url) as work:
            await _run(platform, scene, load, 0)
            half = await _sizes(platform)
            await _run(platform, scene, load, load.rounds // 2)
            end = await _sizes(platform)
            ((failed,),) = await platform.sql(FAILED)
            if failed:
                raise RuntimeError(f"{failed} of {jobs} jobs have failed")
            if settings and not scene.quick:  # once a minute is too seldom for a quick run
                scene.progress("waiting until all jobs are gone")
                await platform.until(ALL_GONE, "the deletion of all jobs", timeout_s=GONE_S)
            if not scene.quick:
                scene.progress("waiting for autovacuum")
                await platform.until(VACUUMED, "autovacuum", timeout_s=VACUUMED_S)
            ((dead, hot),) = await platform.sql(ROWS, LARGE)
        left = await _sizes(platform)
        taken = _beyond(end, empty)
        figures = {
            "tables": sum(taken.values()) / 1e6,
            "growth": sum(taken.values()) / max(sum(_beyond(half, empty).values()), 1),
            "dead": dead,
            "hot": hot,
            **_per_job(work, jobs),
        }
        if settings:
            return {**figures, "left": sum(_beyond(left, empty).values()) / 1e6}
        scene.progress("writing the large tables anew")
        for table in WRITTEN_ANEW:
            await platform.sql(f"VACUUM FULL {table}")
        anew = await _sizes(platform)
    stored = {name: sum(taken[table] for table in tables) / jobs for name, tables in SHOWN.items()}
    return {
        **figures,
        "stored": sum(taken.values()) / jobs,
        **{f"stored_{name}": size for name, size in stored.items()},
        "free": 100 * (1 - sum(anew[name] for name in WRITTEN_ANEW) / sum(left[name] for name in WRITTEN_ANEW)),
    }


async def _run(platform: Stack, scene: Scene, load: Load, done: int) -> None:
    """Run half of the rounds, behind those that are done."""
    for number in range(done, done + load.rounds // 2):
        scene.progress(f"{number * load.jobs} of {load.rounds * load.jobs} jobs have run")
        first = number * load.jobs
        await platform.submit(Plan(load.jobs, CALLERS, batch=load.batch, first=first, timeout_s=ROUND_S), ITEM)
        await platform.until(ALL_ENDED, f"the end of {load.jobs} jobs", timeout_s=ROUND_S)


def _per_job(work: ServerWork, jobs: int) -> Mapping[str, float]:
    """Return what the server has worked for each job, in µs and bytes."""
    by_name = work.by_name()

    def of(*beginnings: str) -> float:
        return sum(used_s for name, used_s in by_name.items() if name.startswith(beginnings)) / jobs * 1e6

    return {
        "log": work.wal_bytes / jobs,
        "cpu": work.total_s / jobs * 1e6,
        "cpu_clients": of(*CLIENTS),
        "cpu_duties": of(DUTY_CONNECTIONS),
        "cpu_vacuum": of(VACUUM),
    }


async def _sizes(platform: Stack) -> Mapping[str, int]:
    return {row["name"]: row["bytes"] for row in await platform.sql(SIZES)}


def _beyond(after: Mapping[str, int], before: Mapping[str, int]) -> Mapping[str, int]:
    return {name: size - before.get(name, 0) for name, size in after.items()}


KEPT: Final = "kept"
FORGOTTEN: Final = "forgotten"
SUITE: Final = Suite(
    name="bloat",
    title="1,000,000 jobs: what they leave in Postgres, and what they cost it",
    metrics=(
        Metric("stored", "stored a job", "B", "less"),
        *(Metric(f"stored_{name}", f"of it {name}", "B", "less") for name in SHOWN),
        Metric("tables", "tables at the end", "MB", "less"),
        Metric("growth", "growth since half", "×", "less"),
        Metric("dead", "dead rows", "%", "less"),
        Metric("free", "free space", "%", "less"),
        Metric("left", "left of empty tables", "MB", "less"),
        Metric("log", "log (WAL) a job", "B", "less"),
        Metric("cpu", "CPU a job", "µs", "less"),
        Metric("cpu_clients", "of it gateway and workers", "µs", "less"),
        Metric("cpu_duties", "of it duties", "µs", "less"),
        Metric("cpu_vacuum", "of it vacuum", "µs", "less"),
        Metric("hot", "HOT updates", "%", "more"),
    ),
    contenders=(
        Contender(KEPT, partial(measure, {})),
        Contender(FORGOTTEN, partial(measure, FORGET)),
    ),
    targets=(
        Target(f"all kept: the second half takes as much as the first (≤ {TWICE:g} ×)", "growth", KEPT, "<=", TWICE),
        Target(f"forgotten: the second half takes no more (≤ {SAME:g} ×)", "growth", FORGOTTEN, "<=", SAME),
        *(
            Target(f"{name}: ≤ {FEW_DEAD:g} % dead rows after autovacuum", "dead", name, "<=", FEW_DEAD)
            for name in (KEPT, FORGOTTEN)
        ),
    ),
)
