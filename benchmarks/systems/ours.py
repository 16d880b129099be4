"""DistriQueue as its users start it: a gateway, an orchestrator, a worker; all guarantees on.

Untouched defaults but for the workers, which are here and nowhere else: for single jobs one process does it on two
cores, and more only take the machine from the others; batches keep two busy.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Final

import httpx

from benchmarks.load.http import Endpoint
from benchmarks.model import Broker, Guarantees, Scene
from benchmarks.systems.marks import VARIABLE, Marks
from benchmarks.systems.programs import Programs
from benchmarks.systems.system import Stored, System
from distriqueue.local.ports import free_block
from distriqueue.store import schema

GATEWAYS: Final = 1
WORKERS: Final = 1
CAPACITY: Final = 50
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
    scene.progress("starting the platform")
    database_url = await scene.database()
    broker_url = await scene.rabbitmq() if broker == "rabbitmq" else database_url
    await schema.migrate(database_url)
    marks = Marks(scene.home / "marks")
    port = free_block(1 + GATEWAYS)
    orchestrator_url = f"http://127.0.0.1:{port}"
    gateway_urls = [f"http://127.0.0.1:{port + number}" for number in range(1, GATEWAYS + 1)]
    settings = {
        "BROKER_URL": broker_url,
        "ORCHESTRATOR_PORT": str(port),
        "ORCHESTRATOR_URLS": orchestrator_url,
        "GATEWAY_URL": ",".join(gateway_urls),
        "WORKER_CAPACITY": str(BATCH_CAPACITY if batch else CAPACITY),
    }
    store = {"DISTRIQUEUE_DATABASE_URL": database_url}
    async with Programs(scene.home, {f"DISTRIQUEUE_{name}": value for name, value in settings.items()}) as programs:
        health = _answers(f"{orchestrator_url}/api/health")
        starts = [programs.start("orchestrator", "orchestrator", ready=health, env=store)]
        for number, url in enumerate(gateway_urls, 1):
            own = {"DISTRIQUEUE_GATEWAY_PORT": str(port + number)}
            ready = _answers(f"{url}/health/ready")
            starts.append(programs.start(f"gateway{number}", "gateway", ready=ready, env=store | own))
        for number in range(1, (BATCH_WORKERS if batch else WORKERS) + 1):
            own = {"DISTRIQUEUE_WORKER_ID": f"worker{number}", VARIABLE: str(marks.path)}
            starts.append(programs.start(f"worker{number}", "workers", HANDLERS, ready=_has_started, env=own))
        async with asyncio.TaskGroup() as group:
            for start in starts:
                group.create_task(start)
        path, around = ("/api/jobs/batch", ('{"jobs":[', "]}")) if batch else ("/api/jobs", ("", ""))
        endpoint = Endpoint([url + path for url in gateway_urls], ITEM, *around)
        yield System(programs, marks, endpoint, Stored(database_url, COUNT, ENDS))


def _has_started(log: str) -> bool:
    return "worker_started" in log


def _answers(url: str) -> Callable[[str], bool]:
    return partial(_is_200, url)


def _is_200(url: str, _log: str) -> bool:
    try:
        return httpx.get(url, timeout=5, trust_env=False).status_code == 200
    except httpx.TransportError:
        return False
