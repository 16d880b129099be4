"""A leader at work on a real database: its stores, its broker and its duties, run one step at a time."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from pydantic import SecretStr

from distriqueue import broker
from distriqueue.core.job import JobId, Priority, new_job_id
from distriqueue.core.messages import Answer, Heartbeat, Report, ReportStatus
from distriqueue.core.ports import Broker
from distriqueue.settings import StoreSettings
from distriqueue.store.database import Database
from distriqueue.store.duties import DutyStore
from distriqueue.store.jobs import JobStore, NewJob
from distriqueue.store.leadership import LeadershipStore, duty_connections
from distriqueue.store.reports import ReportStore
from distriqueue.store.workers import WorkerStore
from orchestrator.duties.reaper import Reaper
from orchestrator.duties.sender import Sender
from orchestrator.recording import Recording

BOOT = "boot1"
WINDOW_S = 5.0


@dataclass
class Records:
    """What the reaper is told of the recording of heartbeats."""

    recording: Recording | None = None


@dataclass
class Leader:
    """Everything that a test of a duty touches."""

    database: Database
    broker: Broker
    url: str
    epoch: int = 1
    records: Records = field(default_factory=Records)

    def __post_init__(self) -> None:
        self.jobs = JobStore(self.database)
        self.reports = ReportStore(self.database)
        self.duties = DutyStore(self.database)
        self.workers = WorkerStore(self.database)
        self.leadership = LeadershipStore(self.database)
        self.sender = Sender(self.broker, self.jobs)

    def reaper(self, *, batch: int = 500) -> Reaper:
        """Return a reaper with the usual window."""
        return Reaper(self.duties, self.records, self.sender, worker_timeout_s=WINDOW_S, batch=batch)

    async def submit(self, priority: Priority = Priority.MEDIUM, *, due_in_s: float | None = None, **new: Any) -> JobId:
        """Store a job; `pending`, or `scheduled` when it has a due time."""
        job_id, payload = new_job_id(), {"numbers": [1, 2]}
        options: dict[str, Any] = {"max_retries": 3, "execution_timeout_s": 300.0} | new
        now = await self.now()
        due_at = None if due_in_s is None else now + timedelta(hours=1)
        await self.jobs.insert(
            [NewJob(job_id, "calculate", priority, payload, json.dumps(payload), due_at=due_at, **options)]
        )
        if due_in_s is not None:
            await self.change(job_id, f"due_at = now() + interval '{due_in_s} s'")
        return job_id

    async def run_on(self, worker_id: str, job_id: JobId, *, attempt: int = 1, ago_s: float = 0.0) -> None:
        """Let a worker claim the job, as of some seconds ago."""
        answers = (await self.report(worker_id, job_id, ReportStatus.RUNNING, attempt=attempt)).answers
        assert answers[0].answer is Answer.ACCEPTED
        if ago_s:
            await self.change(job_id, f"started_at = now() - interval '{ago_s} s'")

    async def report(self, worker_id: str, job_id: JobId, status: ReportStatus, *, attempt: int = 1) -> Any:
        """Apply one report."""
        return await self.reports.apply([Report(job_id=job_id, attempt=attempt, status=status, worker_id=worker_id)])

    async def beat(self, worker_id: str, *, ago_s: float = 0.0, **said: Any) -> None:
        """Record a heartbeat as of some seconds ago."""
        await self.workers.record([Heartbeat(worker_id=worker_id, **said)])
        await self.database.fetch(
            "UPDATE workers SET last_seen = now() - make_interval(secs => $2) WHERE id = $1", worker_id, ago_s
        )

    async def recorded(self, *, unbroken_s: float = 60.0, ago_s: float = 0.0) -> None:
        """Let heartbeats have been recorded without a gap, by an old leader, until some seconds ago."""
        await self.database.fetch("UPDATE leadership SET claimed_at = now() - interval '1 hour'")
        at = await self.now() - timedelta(seconds=ago_s)
        self.records.recording = Recording(at - timedelta(seconds=unbroken_s), at)

    async def change(self, job_id: UUID, assignments: str) -> None:
        """Bend a job's row."""
        await self.database.fetch(f"UPDATE jobs SET {assignments} WHERE id = $1", job_id)

    async def row(self, job_id: UUID) -> Any:
        """Return a job's row."""
        return (await self.database.fetch("SELECT * FROM jobs WHERE id = $1", job_id))[0]

    async def statuses(self, *job_ids: UUID) -> list[str]:
        """Return the status of each job."""
        return [(await self.row(job_id))["status"] for job_id in job_ids]

    async def attempts(self, job_id: UUID) -> list[Any]:
        """Return the attempts that the job has left behind."""
        return await self.database.fetch("SELECT * FROM attempts WHERE job_id = $1 ORDER BY attempt", job_id)

    async def worker_state(self, worker_id: str) -> str:
        """Return a worker's state."""
        return str((await self.database.fetch("SELECT state FROM workers WHERE id = $1", worker_id))[0]["state"])

    async def sent(self) -> int:
        """Return how many dispatches the broker holds."""
        return sum(depth.ready for depth in (await self.broker.depths()).values())

    async def now(self) -> datetime:
        """Return the database's time."""
        at: datetime = (await self.database.fetch("SELECT now() AS at"))[0]["at"]
        return at


@contextlib.asynccontextmanager
async def leading(url: str, *, broker_url: str | None = None) -> AsyncIterator[Leader]:
    """Yield a leader that has claimed epoch 1, with its broker connected, unless that is another's."""
    settings = StoreSettings(database_url=SecretStr(url), store_pool_size=4)
    async with (
        Database.open(settings, application=duty_connections(BOOT)) as database,
        broker.connect(broker_url or url, publish_timeout_s=5.0) as dispatch,
    ):
        if broker_url is None:
            await connected(dispatch)
        leader = Leader(database, dispatch, url)
        assert (await leader.leadership.claim(1, node="node1", boot=BOOT)).won
        yield leader


async def connected(dispatch: Broker) -> None:
    for _ in range(2000):  # the port has no signal for it
        if dispatch.connected:
            return
        await asyncio.sleep(0.005)
    raise TimeoutError("the broker did not connect within 10 s")
