"""A private platform of real processes for one test, each of which the test can kill, drain and start otherwise.

Nothing restarts what dies: a test says when. (The embedded stack with its supervisor has tests of its own.)
"""

import asyncio
import contextlib
import json
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import asyncpg
import httpx
import psutil

from distriqueue.local.ports import free_block
from tests.acceptance.ledger import PATH_VARIABLE, Ledger
from tests.servers.process import ServerFailed, ServerProcess, private_env

ROOT: Final = Path(__file__).parents[2]
HANDLERS: Final = "tests.acceptance.handlers:registry"
STOP_S: Final = 30.0


class Service:
    """One program of the platform, over all its starts. Its calls block: use them by `asyncio.to_thread`."""

    def __init__(self, name: str, argv: tuple[str, ...], env: dict[str, str], home: Path, *, url: str = "") -> None:
        self.name = name
        self.url = url
        self._argv = (sys.executable, "-m", *argv)
        self._env = env
        self._home = home
        self._starts = 0
        self._process: ServerProcess | None = None

    @property
    def pid(self) -> int:
        """Its process."""
        assert self._process is not None, f"{self.name} does not run"
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether the test has started it and neither stopped nor killed it since."""
        return self._process is not None

    def start(self, **env: str) -> None:
        """Start it, with settings for this time only, and wait until it is ready."""
        self._launch(env, self._answers if self.url else self._has_started)

    def start_doomed(self, **env: str) -> None:
        """Start it, to die of its failpoint: perhaps before anybody has seen that it is ready."""
        self._launch(env, lambda: True)

    def _launch(self, env: Mapping[str, str], is_ready: Callable[[], bool]) -> None:
        self._starts += 1
        process = ServerProcess(self._argv, log=self._log, env={**self._env, **env})
        process.start(is_ready, timeout_s=30.0)
        self._process = process

    def stop(self) -> int:
        """Ask it to end; return its exit code."""
        os.kill(self.pid, signal.SIGTERM)
        return self.wait()

    def wait(self, timeout_s: float = STOP_S) -> int:
        """Wait until it has ended, and return its exit code, below 0 for a signal."""
        process, pid = self._process, self.pid
        assert process is not None
        try:
            code = psutil.Process(pid).wait(timeout_s)
        except psutil.TimeoutExpired:
            process.kill()
            raise ServerFailed(f"{self.name} did not end within {timeout_s:g} s:\n{self.log()[-4000:]}") from None
        finally:
            self._process = None
        process.kill()  # closes the books; it is gone
        return int(code)

    def kill(self) -> float:
        """SIGKILL it; return when that was."""
        assert self._process is not None
        process, self._process = self._process, None
        at = time.monotonic()
        process.kill()
        return at

    def log(self) -> str:
        """Return what its present or last process has written."""
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    def complaints(self, tolerated: tuple[str, ...]) -> list[str]:
        """Return what it has logged as an error, and what is no log line at all, over all its starts."""
        logs = sorted(self._home.glob(f"{self.name}.*.log"))
        lines = [line for log in logs for line in log.read_text(errors="replace").splitlines()]
        return [line for line in lines if _is_complaint(line, tolerated)]

    @property
    def _log(self) -> Path:
        return self._home / f"{self.name}.{self._starts}.log"

    def _has_started(self) -> bool:
        return "worker_started" in self.log()

    def _answers(self) -> bool:
        with contextlib.suppress(httpx.TransportError):
            return httpx.get(self.url + self._probe, timeout=5, trust_env=False).status_code == 200
        return False

    @property
    def _probe(self) -> str:
        return "/health/ready" if self.name.startswith("gateway") else "/api/health"


def _is_complaint(line: str, tolerated: tuple[str, ...]) -> bool:
    if not line.startswith("{"):
        return True
    fields = json.loads(line)
    names = (fields["event"], fields["logger"], fields["logger"].partition(".")[0])
    return fields["level"] in ("error", "critical") and not set(names) & set(tolerated)


@dataclass(frozen=True)
class Platform:
    """Everything that runs, and the ways to look at it from outside."""

    database_url: str
    ledger: Ledger
    gateways: tuple[Service, ...]
    orchestrator: Service
    workers: tuple[Service, ...]

    @property
    def urls(self) -> tuple[str, ...]:
        """The gateways' addresses."""
        return tuple(gateway.url for gateway in self.gateways)

    @property
    def url(self) -> str:
        """The first gateway's address."""
        return self.gateways[0].url

    @property
    def services(self) -> tuple[Service, ...]:
        """All of them, in the order in which they are to stop."""
        return (*self.workers, *self.gateways, self.orchestrator)

    async def sql(self, statement: str, *args: object) -> list[Any]:
        """Ask Postgres, on a connection of its own: it may have been away."""
        connection = await asyncpg.connect(self.database_url, timeout=10)
        try:
            return list(await connection.fetch(statement, *args, timeout=30))
        finally:
            await connection.close(timeout=10)

    async def statuses(self) -> Counter[str]:
        """Count the jobs by status."""
        rows = await self.sql("SELECT status, count(*) FROM jobs GROUP BY status")
        return Counter({row["status"]: row["count"] for row in rows})

    async def until(self, condition: Callable[[], bool | Awaitable[bool]], what: str, *, timeout_s: float = 30) -> None:
        """Look again and again until the condition holds, where nothing signals it."""
        deadline = time.monotonic() + timeout_s
        while True:
            answer = condition()
            if answer if isinstance(answer, bool) else await answer:
                return
            assert time.monotonic() < deadline, f"{what}: not within {timeout_s:g} s; {await self.statuses()}"
            await asyncio.sleep(0.05)

    async def until_over(self, *, timeout_s: float = 60) -> None:
        """Wait until no job has anything left to do."""

        async def over() -> bool:
            return not await self.sql("SELECT 1 FROM jobs WHERE finished_at IS NULL LIMIT 1")

        await self.until(over, "the end of all jobs", timeout_s=timeout_s)


@dataclass(frozen=True)
class Ground:
    """What a platform stands on: an empty database, a broker and a directory."""

    home: Path
    database_url: str
    broker_url: str

    @asynccontextmanager
    async def platform(
        self,
        *,
        gateways: int = 1,
        workers: int = 1,
        capacity: int = 10,
        tolerated: tuple[str, ...] = (),
        failpoint: str = "",
        **settings: str,
    ) -> AsyncIterator[Platform]:
        """Start all, the gateways with the failpoint armed; at the end all that still runs must stop in good order.

        And nobody may have logged an error, except loggers (or their children) and events that are `tolerated`.
        """
        platform = self._plan(gateways, workers, {"WORKER_CAPACITY": str(capacity), "WORKER_DRAIN": "5"} | settings)
        try:
            armed = {"DISTRIQUEUE_FAILPOINTS": failpoint}
            await _all(
                *(partial(gateway.start, **armed) for gateway in platform.gateways),
                platform.orchestrator.start,
                *(worker.start for worker in platform.workers),
            )
            yield platform
            codes = {s.name: await asyncio.to_thread(s.stop) for s in platform.services if s.is_running}
            complaints = [line for service in platform.services for line in service.complaints(tolerated)]
            assert codes == dict.fromkeys(codes, 0), codes
            assert complaints == [], "\n".join(complaints[:20])
        except BaseException:
            for service in platform.services:
                print(f"---- {service.name}\n{service.log()[-3000:]}")
            raise
        finally:
            await _all(*(service.kill for service in platform.services if service.is_running))

    def _plan(self, gateways: int, workers: int, settings: dict[str, str]) -> Platform:
        ledger = Ledger(self.home / "ledger")
        port = free_block(gateways + 1)
        orchestrator_url = f"http://127.0.0.1:{port}"
        gateway_urls = [f"http://127.0.0.1:{port + number}" for number in range(1, gateways + 1)]
        shared = private_env(
            PYTHONPATH=str(ROOT),
            DISTRIQUEUE_BROKER_URL=self.broker_url,
            DISTRIQUEUE_ORCHESTRATOR_PORT=str(port),
            DISTRIQUEUE_ORCHESTRATOR_URLS=orchestrator_url,
            DISTRIQUEUE_GATEWAY_URL=",".join(gateway_urls),
            **{f"DISTRIQUEUE_{name}": value for name, value in settings.items()},
        )
        with_store = shared | {"DISTRIQUEUE_DATABASE_URL": self.database_url}
        return Platform(
            database_url=self.database_url,
            ledger=ledger,
            gateways=tuple(
                Service(
                    f"gateway{number}",
                    ("gateway",),
                    with_store | {"DISTRIQUEUE_GATEWAY_PORT": str(port + number)},
                    self.home,
                    url=url,
                )
                for number, url in enumerate(gateway_urls, 1)
            ),
            orchestrator=Service("orchestrator", ("orchestrator",), with_store, self.home, url=orchestrator_url),
            workers=tuple(
                Service(
                    f"worker{number}",
                    ("workers", HANDLERS),
                    shared | {"DISTRIQUEUE_WORKER_ID": f"worker{number}", PATH_VARIABLE: str(ledger.path)},
                    self.home,
                )
                for number in range(1, workers + 1)
            ),
        )


async def _all(*calls: Callable[[], object]) -> None:
    async with asyncio.TaskGroup() as group:
        for each in calls:
            group.create_task(asyncio.to_thread(each))
