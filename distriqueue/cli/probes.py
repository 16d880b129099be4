"""What `distriqueue doctor` asks: Postgres, the broker, the gateway, the orchestrators. None of these raises."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from urllib.parse import urlsplit

import aio_pika
import asyncpg

from distriqueue import __version__
from distriqueue.cli.checks import Finding, note, ok, problem
from distriqueue.cli.cluster import asked, settled
from distriqueue.cli.database import place
from distriqueue.cli.exits import Exit, exit_code
from distriqueue.cli.gateway import Gateway
from distriqueue.cli.home import Callee
from distriqueue.cli.output import ago, plural, span
from distriqueue.core.errors import DistriQueueError, Unavailable
from distriqueue.store import schema

ANSWER_S: Final = 3.0
"""How long each thing that is asked may take."""
CLOCK_NOTE: Final = timedelta(seconds=1)
CLOCK_PROBLEM: Final = timedelta(seconds=30)
CONNECTIONS_NOTE: Final = 0.9
"""The share of Postgres' connections from which on it is told."""


async def database(url: str | None) -> list[Finding]:
    """Look at Postgres: does it answer, is its schema ours, do the clocks agree, has it room."""
    if url is None:
        return [note("database", "not known, so not looked at", "name it by --database-url")]
    where = place(url)
    try:
        connection = await asyncpg.connect(url, timeout=ANSWER_S, command_timeout=ANSWER_S)
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, ValueError) as exc:
        said = f"{where} does not answer ({_why(exc)})"
        return [problem("database", said, "start Postgres, or name another by --database-url", Exit.UNREACHABLE)]
    try:
        version = connection.get_server_version()
        found = [ok("database", f"Postgres {version.major}.{version.minor} at {where}")]
        found.append(await _schema(connection))
        found.append(await _clock(connection))
        found.append(await _connections(connection))
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as exc:
        return [problem("database", f"{where} broke off ({_why(exc)})", "see the log of Postgres")]
    finally:
        await connection.close(timeout=ANSWER_S)
    return found


async def broker(url: str | None, database_url: str | None) -> Finding:
    """Look at the broker: does it let us in."""
    if url is None:
        return note("broker", "not known, so not looked at", "name it by --broker-url")
    if urlsplit(url).scheme.startswith("postgres"):
        same = "the Postgres of the jobs" if url == database_url else f"Postgres at {place(url)}"
        return ok("broker", same)
    try:
        async with await aio_pika.connect(url, timeout=ANSWER_S):
            return ok("broker", f"RabbitMQ at {place(url)}")
    except (OSError, TimeoutError, aio_pika.exceptions.AMQPError, ValueError) as exc:
        said = f"{place(url)} does not answer ({_why(exc)})"
        do = "start RabbitMQ, or mend the user, password or vhost in the address; jobs are kept meanwhile"
        return problem("broker", said, do, Exit.UNREACHABLE)


def gateway(callee: Callee) -> list[Finding]:
    """Look at the gateway and, through it, at the queues and the workers."""
    try:
        with Gateway(callee, timeout_s=ANSWER_S) as found:
            return [*_gateway(found), *_queues(found), *_workers(found)]
    except DistriQueueError as exc:
        return [_unheard("gateway", exc)]


def orchestrators(callee: Callee | None) -> list[Finding]:
    """Look at who leads, and at the leader's duties."""
    if callee is None:
        return [note("orchestrators", "not known, so not looked at", "name them by --orchestrators")]
    try:
        said = asked(callee)
    except DistriQueueError as exc:
        return [_unheard("orchestrators", exc)]
    silent = [url for url, each in said.items() if each is None]
    leader = settled(said)
    if len(silent) == len(said):
        text = f"none of {plural(len(said), 'node')} answers: {', '.join(silent)}"
        do = "start them: without a leader nothing is retried, scheduled or cleaned up"
        return [problem("orchestrators", text, do, Exit.UNREACHABLE)]
    if leader is None:
        text = "no established leader on whom all agree"
        return [problem("orchestrators", text, "see `distriqueue cluster status`; an election takes some seconds")]
    term = next(each["term"] for each in said.values() if each)
    found = [ok("orchestrators", f"{leader} leads in term {term}, {len(said) - len(silent)} of {len(said)} answer")]
    do = "start it: the cluster has one less to lose"
    found += [note("orchestrators", f"{url} does not answer", do) for url in silent]
    return found + [finding for each in said.values() if each and each["node"] == leader for finding in _duties(each)]


def _unheard(what: str, error: DistriQueueError) -> Finding:
    """Tell an error that says itself what to do, behind its last colon."""
    said, _, do = error.message.partition(": `distriqueue")
    advice = f"`distriqueue{do}" if do else "see its log"
    if isinstance(error, Unavailable):
        advice = "start it (`distriqueue up` starts a whole stack), or name another by --url"
    return problem(what, said, advice, Exit(exit_code(error)))


async def _schema(connection: "asyncpg.Connection[Any]") -> Finding:
    try:
        revision = await connection.fetchval("SELECT version_num FROM alembic_version")
    except asyncpg.UndefinedTableError:
        return problem("schema", "the database has no tables of DistriQueue", "run `distriqueue migrate`")
    head = schema.head()
    if revision == head:
        return ok("schema", f"at {revision}, which this version needs")
    do = "run `distriqueue migrate`, or use the version of distriqueue that it belongs to"
    return problem("schema", f"at {revision}, and this version needs {head}", do)


async def _clock(connection: "asyncpg.Connection[Any]") -> Finding:
    before = datetime.now(UTC)
    there = await connection.fetchval("SELECT clock_timestamp()")
    after = datetime.now(UTC)
    # The answer was made somewhere between the two: what lies outside is a difference for certain.
    apart = max(before - there, there - after, timedelta(0))
    if apart < CLOCK_NOTE:
        return ok("clock", "agrees with that of Postgres")
    said = f"{span(apart.total_seconds())} {'behind' if there > after else 'ahead of'} that of Postgres"
    do = "let a time service (NTP) set both"
    return problem("clock", said, do) if apart >= CLOCK_PROBLEM else note("clock", said, do)


async def _connections(connection: "asyncpg.Connection[Any]") -> Finding:
    row = await connection.fetchrow(
        "SELECT count(*) AS used, current_setting('max_connections')::int AS most FROM pg_stat_activity"
        " WHERE backend_type = 'client backend'"
    )
    used, most = (row["used"], row["most"]) if row else (0, 1)
    said = f"{used} of {most} connections in use"
    if used >= most * CONNECTIONS_NOTE:
        return note("database", said, "raise max_connections, or lower DISTRIQUEUE_STORE_POOL_SIZE")
    return ok("database", said)


def _gateway(found: Gateway) -> Iterator[Finding]:
    health = found.call("GET", "/actuator/health")
    yield ok("gateway", f"{found.url} is {health['status']}")
    if health.get("components", {}).get("broker", {}).get("status") == "DOWN":
        yield problem("gateway", "it does not reach the broker", "start the broker: jobs are kept meanwhile")
    version = found.call("GET", "/actuator/info")["app"]["version"]
    if version != __version__:
        yield note("version", f"the gateway is {version}, this is {__version__}", "upgrade the older of the two")


def _queues(found: Gateway) -> Iterator[Finding]:
    for queue in found.call("GET", "/queues"):
        if queue["paused"]:
            why = f" ({queue['pausedReason']})" if queue["pausedReason"] else ""
            yield note("queues", f"{queue['name']} is paused{why}", f"`distriqueue queues resume {queue['name']}`")


def _workers(found: Gateway) -> Iterator[Finding]:
    known = found.call("GET", "/workers", query={"size": 1000})["content"]
    alive = [each for each in known if each["state"] not in ("STOPPED", "UNRESPONSIVE")]
    if alive:
        capacity, load = (sum(each[name] for each in alive) for name in ("capacity", "currentLoad"))
        yield ok("workers", f"{plural(len(alive), 'worker')} alive, {load} jobs in {capacity} places")
    else:
        yield problem("workers", "none is alive: jobs wait", "start one by `distriqueue worker`")
    for each in known:
        if each["state"] == "UNRESPONSIVE":
            said = f"{each['workerId']} was heard last {ago(each['lastSeen'])}"
            yield note("workers", said, "see its log; its jobs are run again elsewhere")
    versions = {each["version"] for each in alive if each["version"]} - {__version__}
    if versions:
        said = f"workers of {', '.join(sorted(versions))}, this is {__version__}"
        yield note("version", said, "upgrade the older ones")


def _duties(node: dict[str, Any]) -> Iterator[Finding]:
    for name, report in node["duties"].items():
        failed = report["lastErrorAt"] is not None and (report["lastRunAt"] or "") <= report["lastErrorAt"]
        if failed:
            said = f"the duty {name} failed {ago(report['lastErrorAt'])}: {report['lastError']}"
            yield problem("orchestrators", said, f"see the log of {node['node']}")


def _why(error: BaseException) -> str:
    """Say what an error says of itself: of one that says nothing, what it is."""
    if isinstance(error, TimeoutError):
        return f"nothing came within {ANSWER_S:g} s"
    return str(error) or type(error).__name__
