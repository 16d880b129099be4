"""A private cluster of orchestrators: real processes that a test kills, freezes, terminates and wipes.

Nothing restarts what dies: a test says when. What matters is asked of Postgres and not of the nodes: who claimed which
epoch, and when a job that was due was promoted.
"""

import asyncio
import contextlib
import os
import secrets
import shutil
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from uuid import UUID, uuid4

import asyncpg
import httpx

from distriqueue.local.ports import free_block
from tests.servers.process import ServerProcess, private_env

ROOT: Final = Path(__file__).parents[2]
LOOPBACK: Final = "127.0.0.1"
SETTLE_S: Final = 15.0
_POLL_S: Final = 0.005


class Node:
    """One orchestrator over all its lives."""

    def __init__(self, name: str, home: Path, env: dict[str, str], *, host: str, port: int, raft_port: int) -> None:
        self.name = name
        self.url = f"http://{host}:{port}"
        self.raft_url = f"http://{host}:{raft_port}"
        self.data = home / name
        self.prefix: tuple[str, ...] = ()
        self.env = env
        self._home = home
        self._lives = 0
        self._process: ServerProcess | None = None

    @property
    def pid(self) -> int:
        """Its process."""
        assert self._process is not None, f"{self.name} does not run"
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether the test has started it and not ended it since."""
        return self._process is not None

    async def start(self, **env: str) -> None:
        """Start it, with settings for this life only, and wait until it answers."""
        self._lives += 1
        command = (*self.prefix, sys.executable, "-m", "orchestrator")
        process = ServerProcess(command, log=self._log, env=self.env | env)
        await asyncio.to_thread(process.start, self._answers, timeout_s=30.0)
        self._process = process

    async def kill(self) -> float:
        """SIGKILL it; return when that was, by the monotonic clock."""
        process, self._process = self._process, None
        assert process is not None
        at = time.monotonic()
        os.kill(process.pid, signal.SIGKILL)
        await asyncio.to_thread(process.kill)
        return at

    async def stop(self) -> None:
        """SIGTERM it, and wait until it has ended."""
        process, self._process = self._process, None
        assert process is not None
        await asyncio.to_thread(process.stop)

    def freeze(self) -> None:
        """SIGSTOP it."""
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT it."""
        os.kill(self.pid, signal.SIGCONT)

    def wipe(self) -> None:
        """Forget its term and vote."""
        shutil.rmtree(self.data)

    def log(self) -> str:
        """Return what its present or last life has written."""
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    @property
    def _log(self) -> Path:
        return self._home / f"{self.name}.{self._lives}.log"

    def _answers(self) -> bool:
        with contextlib.suppress(httpx.TransportError):
            return httpx.get(f"{self.url}/api/health", timeout=2, trust_env=False).status_code == 200
        return False


@dataclass
class Cluster:
    """The nodes, and the ways to look at them from outside."""

    nodes: Sequence[Node]
    database_url: str
    secret: str
    client: httpx.AsyncClient
    sql: "asyncpg.Connection[Any]"

    @property
    def running(self) -> list[Node]:
        """The nodes that the test has not ended."""
        return [node for node in self.nodes if node.is_running]

    def node(self, name: str) -> Node:
        """Return a node by its name."""
        return next(node for node in self.nodes if node.name == name)

    async def status(self, node: Node, path: str = "/api/cluster/status") -> dict[str, Any]:
        """Return what a node says of the cluster, nothing when it does not answer."""
        try:
            answer: dict[str, Any] = (await self.client.get(node.url + path, timeout=1.0)).json()
        except httpx.HTTPError:
            return {}
        return answer

    async def raft(self, node: Node) -> dict[str, Any]:
        """Return a node's inner state of the election."""
        return await self.status(node, "/api/raft/status")

    async def settled(self, nodes: Sequence[Node] | None = None, *, timeout_s: float = SETTLE_S) -> Node:
        """Wait until these nodes (the running ones) agree on one established leader among them; return it."""
        found: list[Node] = []

        async def agreed() -> bool:
            asked = list(nodes or self.running)
            said = [await self.status(node) for node in asked]
            views = {(each.get("leader"), each.get("term"), each.get("established")) for each in said}
            leader, _, established = next(iter(views))
            found[:] = [node for node in asked if node.name == leader]
            return len(views) == 1 and bool(established) and bool(found)

        await until(agreed, "one established leader", timeout_s=timeout_s)
        return found[0]

    async def term(self) -> int:
        """Return the highest term that a running node knows."""
        return max([int((await self.status(node)).get("term", 0)) for node in self.running])

    async def epoch(self) -> int:
        """Return the epoch in Postgres."""
        return int(await self.sql.fetchval("SELECT epoch FROM leadership"))

    async def history(self) -> list[tuple[int, str]]:
        """Return who claimed which epoch, in order; Postgres itself allows no two claims of one."""
        rows = await self.sql.fetch("SELECT epoch, node FROM leadership_history ORDER BY epoch")
        return [(row["epoch"], row["node"]) for row in rows]

    async def due_job(self, *, in_s: float = 0.0) -> UUID:
        """Store a job that is due then, for the leader to promote."""
        job_id = uuid4()
        await self.sql.execute(_JOB, job_id, in_s)
        return job_id

    async def promoted(self, job_id: UUID, *, timeout_s: float = 10.0) -> float:
        """Wait until a leader has committed that the job is due; return when that was seen."""

        async def is_promoted() -> bool:
            return bool(await self.sql.fetchval("SELECT status <> 'scheduled' FROM jobs WHERE id = $1", job_id))

        await until(is_promoted, "the first commit of a duty", timeout_s=timeout_s)
        return time.monotonic()

    async def promotions(self, job_id: UUID) -> int:
        """Count the commits that made the job pending."""
        statement = "SELECT count(*) FROM events WHERE job_id = $1 AND status = 'pending'"
        return int(await self.sql.fetchval(statement, job_id))

    @asynccontextmanager
    async def promotion_held(self) -> AsyncIterator[UUID]:
        """Hold the leader in the middle of a transaction that promotes a job, while the block runs."""
        job_id = await self.due_job(in_s=0.5)
        async with self.sql.transaction():
            # The trigger that writes the promotion's event waits for this lock.
            await self.sql.execute("LOCK TABLE events IN SHARE MODE")

            async def waits() -> bool:
                return bool(await self.sql.fetchval(_WAITS))

            await until(waits, "the leader in the middle of a transaction")
            yield job_id

    async def failover_s(self) -> float:
        """SIGKILL the leader; return the seconds to the first commit of a duty under a new epoch."""
        leader, epoch = await self.settled(), await self.epoch()
        killed_at = await leader.kill()
        seen_at = await self.promoted(await self.due_job())
        assert await self.epoch() > epoch
        return seen_at - killed_at

    async def handover_gap_s(self) -> float:
        """SIGTERM the leader under a stream of due jobs; return the seconds in which nobody promoted any."""
        leader, epoch = await self.settled(), await self.epoch()
        await self.sql.executemany(_JOB, [(uuid4(), 0.2 + 0.01 * number) for number in range(250)])
        await asyncio.sleep(1.0)  # the stream runs: jobs are due every 10 ms
        await leader.stop()

        async def over() -> bool:
            return not await self.sql.fetchval("SELECT count(*) FROM jobs WHERE status = 'scheduled'")

        await until(over, "the end of the stream", timeout_s=20)
        gap = await self.sql.fetchval(_GAP, epoch)
        assert gap is not None, "nobody promoted under the new epoch"
        return float(gap)


_JOB: Final = """
INSERT INTO jobs (id, type, priority, status, max_retries, execution_timeout_s, due_at, payload)
VALUES ($1, 'calculate', 'LOW', 'scheduled', 3, 60, clock_timestamp() + make_interval(secs => $2), '{}')
"""
_WAITS: Final = """
SELECT count(*) FROM pg_locks l JOIN pg_stat_activity a USING (pid)
 WHERE l.relation = 'events'::regclass AND NOT l.granted AND a.application_name LIKE 'distriqueue-duties:%'
"""
_GAP: Final = """
SELECT extract(epoch FROM min(e.at) FILTER (WHERE e.at > c.claimed_at) - max(e.at) FILTER (WHERE e.at < c.claimed_at))
  FROM (SELECT claimed_at FROM leadership_history WHERE epoch > $1 ORDER BY epoch LIMIT 1) c, events e
 WHERE e.was = 'scheduled'
"""


@asynccontextmanager
async def cluster(
    home: Path,
    database_url: str,
    *,
    count: int = 3,
    hosts: Sequence[str] = (),
    settings: Mapping[str, str] | None = None,
    start: bool = True,
    node_database_url: str | None = None,
    prefixes: Sequence[tuple[str, ...]] = (),
) -> AsyncIterator[Cluster]:
    """Start the nodes and yield the cluster; at the end all is ended, and no node may have logged an error."""
    hosts = hosts or (LOOPBACK,) * count
    first, secret = free_block(2 * count), secrets.token_urlsafe(24)
    names = [f"orchestrator{number}" for number in range(1, count + 1)]
    ports = [(first + 2 * index, first + 2 * index + 1) for index in range(count)]
    peers = [f"{name}=http://{host}:{port[1]}" for name, host, port in zip(names, hosts, ports, strict=True)]
    nodes = []
    for name, host, (port, raft_port) in zip(names, hosts, ports, strict=True):
        env = private_env(
            PYTHONPATH=str(ROOT),
            DISTRIQUEUE_DATABASE_URL=node_database_url or database_url,
            DISTRIQUEUE_BROKER_URL=node_database_url or database_url,
            DISTRIQUEUE_ORCHESTRATOR_HOST=host,
            DISTRIQUEUE_INSECURE=str(host != LOOPBACK).lower(),
            DISTRIQUEUE_ORCHESTRATOR_PORT=str(port),
            DISTRIQUEUE_NODE_ID=name,
            DISTRIQUEUE_PEERS=",".join(peers),
            DISTRIQUEUE_CLUSTER_SECRET=secret,
            DISTRIQUEUE_CLUSTER_NAME="test",
            DISTRIQUEUE_DATA_DIR=str(home / name),
            **(settings or {}),
        )
        nodes.append(Node(name, home, env, host=host, port=port, raft_port=raft_port))
    for node, prefix in zip(nodes, prefixes, strict=False):
        node.prefix = prefix
    sql = await asyncpg.connect(database_url, timeout=10)
    async with httpx.AsyncClient(trust_env=False) as client:
        made = Cluster(nodes, database_url, secret, client, sql)
        try:
            if start:
                await together(*(node.start for node in nodes))
                await made.settled()
            yield made
            errors = [line for node in nodes for line in node.log().splitlines() if _is_error(line)]
            assert errors == [], "\n".join(errors[:20])
        except BaseException:
            for node in nodes:
                print(f"---- {node.name}\n{node.log()[-3000:]}")
            raise
        finally:
            await sql.close(timeout=10)
            for node in made.running:
                node.thaw()
            await together(*(node.kill for node in made.running))


def _is_error(line: str) -> bool:
    return not line.startswith("{") or '"level": "error"' in line or '"level": "critical"' in line


async def until(condition: Callable[[], Awaitable[bool]], what: str, *, timeout_s: float = 10.0) -> None:
    """Look again and again, where nothing signals it."""
    deadline = time.monotonic() + timeout_s
    while not await condition():
        assert time.monotonic() < deadline, f"{what}: not within {timeout_s:g} s"
        await asyncio.sleep(_POLL_S)


async def together(*calls: Callable[[], Awaitable[object]]) -> None:
    """Do all at once."""
    async with asyncio.TaskGroup() as group:
        for call in calls:
            group.create_task(_run(call))


async def _run(call: Callable[[], Awaitable[object]]) -> None:
    await call()
