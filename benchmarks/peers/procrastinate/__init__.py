"""Procrastinate, on Postgres alone.

psycopg 3 with its C implementation and a pool. Submitted by concurrent tasks of one event loop, one `defer_async` a
job, or `batch_defer_async`. Worker: one, concurrency 20, woken by NOTIFY. It fetches jobs one by one and keeps an event
for each change, as we do; results of functions are stored nowhere.
"""

from typing import Final

from benchmarks.model import Guarantees
from benchmarks.peers.peer import Peer

APP: Final = "benchmarks.peers.procrastinate.app"
CALLERS: Final = 16
BATCH_CALLERS: Final = 2
PEER: Final = Peer(
    app=APP,
    workers={"worker": ("procrastinate", "--app", f"{APP}.app", "worker", "--concurrency", "20")},
    guarantees=Guarantees(True, True, False, True, "statuses and events stored"),
    database=True,
    installs=True,
)
