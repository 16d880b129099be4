"""Celery on RabbitMQ: results in Postgres, sent back by `rpc://`, or ignored.

Quorum queue, publisher confirms (`confirm_publish`), tasks acknowledged after they ran (`task_acks_late`): crashes lose
none. Tuned: rate limits, events, gossip and mingling off; a longer prefetch; no log line per task. Submitted from
several threads, each with a connection of the producer pool. Worker: a pool of eight threads, for such short tasks
faster than prefork; but prefork with a process a core for results in Postgres, since Celery's backend keeps connections
only in forked processes, and opens one for each result in others.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Final, Literal

from benchmarks.model import Guarantees
from benchmarks.peers.peer import Peer

Results = Literal["postgres", "rpc", "ignored"]
RESULTS: Final = "BENCHMARK_CELERY_RESULTS"
APP: Final = "benchmarks.peers.celery.app"
OPTIONS: Final = ("--loglevel", "WARNING", "--without-gossip", "--without-mingle", "--without-heartbeat")
THREADS: Final = ("celery", "-A", APP, "worker", "--pool", "threads", "--concurrency", "8", *OPTIONS)
PREFORK: Final = ("celery", "-A", APP, "worker", "--pool", "prefork", "--concurrency", "2", *OPTIONS)
CALLERS: Final = 16

_IGNORED: Final = Peer(
    app=APP,
    workers={"worker": THREADS},
    guarantees=Guarantees(True, True, False, False, "acknowledged after it ran"),
    rabbitmq=True,
    env={RESULTS: "ignored"},
)
PEERS: Final[Mapping[Results, Peer]] = {
    "ignored": _IGNORED,
    "rpc": replace(
        _IGNORED,
        guarantees=Guarantees(True, True, False, False, "results sent to whoever submitted, kept nowhere"),
        env={RESULTS: "rpc"},
    ),
    "postgres": replace(
        _IGNORED,
        guarantees=Guarantees(True, True, True, False, "result inserted after the run; nothing before"),
        workers={"worker": PREFORK},
        env={RESULTS: "postgres"},
        database=True,
        count="SELECT count(*) FROM celery_taskmeta WHERE status = 'SUCCESS'",
        ends="""
        SELECT split_part(task_id, ':', 2)::bigint, date_done AT TIME ZONE 'UTC' FROM celery_taskmeta
         WHERE status = 'SUCCESS'""",
    ),
}
