"""PgQueuer, on Postgres alone.

asyncpg with a pool, uvloop. Submitted by concurrent tasks of one event loop, one `enqueue` a job, or lists. Worker:
one, that takes 100 jobs at a time, woken by NOTIFY, and logs how jobs ended in batches; results of functions are stored
nowhere.
"""

from typing import Final

from benchmarks.model import Guarantees
from benchmarks.peers.peer import Peer

APP: Final = "benchmarks.peers.pgqueuer.app"
CALLERS: Final = 16
BATCH_CALLERS: Final = 2
BATCH_SIZE: Final = 100
PEER: Final = Peer(
    app=APP,
    workers={"worker": (APP, "work")},
    guarantees=Guarantees(True, True, False, True, "statuses stored; logged up to 0.1 s after the end"),
    database=True,
    installs=True,
)
