"""DistriQueue beside its peers: as its users start it, all guarantees on, with a handler that does what theirs do.

Untouched defaults but for the workers, which are here and nowhere else: for single jobs one process does it on two
cores, and more only take the machine from the others; batches keep two busy.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from benchmarks.load.http import Endpoint
from benchmarks.model import Broker, Guarantees, Scene
from benchmarks.systems.marks import VARIABLE, Marks
from benchmarks.systems.stack import CAPACITY, stack
from benchmarks.systems.system import Stored, System

WORKERS: Final = 1
BATCH_WORKERS: Final = 2
BATCH_CAPACITY: Final = 100
HANDLERS: Final = "benchmarks.systems.handlers:registry"

GUARANTEES: Final = Guarantees(
    durable=True, confirmed=True, results_stored=True, state_visible=True, note="each attempt claimed, events kept"
)
ITEM: Final = '{"type":"add","payload":{"a":@,"b":1}}'
COUNT: Final = "SELECT count(*) FROM jobs WHERE finished_at IS NOT NULL"
ENDS: Final = """
SELECT (jobs.payload->>'a')::bigint, events.at FROM events JOIN jobs ON jobs.id = events.job_id
 WHERE events.status = 'completed'"""


@asynccontextmanager
async def opened(scene: Scene, broker: Broker, *, batch: bool = False) -> AsyncIterator[System]:
    """Start all, over an empty database; submissions are single jobs, or batches."""
    marks = Marks(scene.home / "marks")
    async with stack(
        scene,
        broker,
        workers=BATCH_WORKERS if batch else WORKERS,
        capacity=BATCH_CAPACITY if batch else CAPACITY,
        handlers=HANDLERS,
        worker_env={VARIABLE: str(marks.path)},
    ) as running:
        jobs = f"{running.url}/api/jobs"
        endpoint = Endpoint([f"{jobs}/batch"], ITEM, '{"jobs":[', "]}") if batch else Endpoint([jobs], ITEM)
        yield System(running.programs, marks, endpoint, Stored(running.database_url, COUNT, ENDS))
