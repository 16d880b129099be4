"""A platform as compose has it, under a real Prometheus: two gateways, three orchestrators, two workers, RabbitMQ."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, Final

import httpx

from distriqueue.local.ports import free_block
from tests.acceptance.cluster import until
from tests.acceptance.stack import ROOT, Service
from tests.servers.process import private_env
from tests.servers.prometheus import PrometheusServer
from tests.servers.rabbitmq import RabbitMQServer

HOLD_S: Final = 3.0
"""How long alerts have to hold."""
GATEWAYS: Final = 2
ORCHESTRATORS: Final = 3
WORKERS: Final = 2
BATCH: Final = 20
PAUSE_S: Final = 0.2


class ScrapedRabbitMQ(RabbitMQServer):
    """RabbitMQ with the plugin that compose's image has too."""

    metrics_port: int = 0

    def _files(self) -> dict[str, str]:
        env = super()._files()
        self.metrics_port = free_block()
        Path(env["RABBITMQ_ENABLED_PLUGINS_FILE"]).write_text("[rabbitmq_prometheus].\n")
        with Path(env["RABBITMQ_CONFIG_FILE"]).open("a") as config:
            config.write(f"prometheus.tcp.ip = 127.0.0.1\nprometheus.tcp.port = {self.metrics_port}\n")
        return env


@dataclass
class Watched:
    """What runs, and the Prometheus that looks at it."""

    gateways: list[Service]
    orchestrators: list[Service]
    workers: list[Service]
    prometheus: PrometheusServer
    endpoints: list[str]
    """Where our own services show their figures."""
    answers: list[int] = field(default_factory=list)

    @property
    def services(self) -> list[Service]:
        """All of ours, workers first."""
        return [*self.workers, *self.gateways, *self.orchestrators]

    async def load(self, stop: asyncio.Event) -> None:
        """Submit jobs of each lane, one by one and together, some of which fail, until `stop`."""
        async with httpx.AsyncClient(timeout=10, trust_env=False) as client:
            for number in count():
                url = f"{self.gateways[number % GATEWAYS].url}/api/jobs"
                good: dict[str, Any] = {"type": "calculate", "payload": {"numbers": [1, 2]}}
                jobs = [good | {"priority": lane} for lane in ("CRITICAL", "HIGH", "MEDIUM", "LOW")] * (BATCH // 4)
                bad = {"type": "calculate", "payload": {"numbers": "none"}, "maxRetries": 0}
                one = bad if number % 20 == 0 else good
                for answer in (await client.post(url, json=one), await client.post(f"{url}/batch", json=jobs)):
                    self.answers.append(answer.status_code)
                try:
                    async with asyncio.timeout(PAUSE_S):
                        await stop.wait()
                except TimeoutError:
                    continue
                return

    async def fires(self, alert: str, *, timeout_s: float) -> None:
        """Wait until the alert fires."""

        async def firing() -> bool:
            return alert in await asyncio.to_thread(self.prometheus.firing)

        await until(firing, alert, timeout_s=timeout_s)


@asynccontextmanager
async def watched(home: Path, database_url: str, rabbitmq: ScrapedRabbitMQ) -> AsyncIterator[Watched]:
    """Start all; at the end all is ended."""
    first = free_block(GATEWAYS + 2 * ORCHESTRATORS + WORKERS)
    ports = iter(range(first, first + GATEWAYS + 2 * ORCHESTRATORS + WORKERS))
    api = {name: next(ports) for name in _names("gateway", GATEWAYS) + _names("orchestrator", ORCHESTRATORS)}
    raft = {name: next(ports) for name in _names("orchestrator", ORCHESTRATORS)}
    shown = {name: next(ports) for name in _names("worker", WORKERS)}
    urls = {name: f"http://127.0.0.1:{port}" for name, port in api.items()}
    env = private_env(
        PYTHONPATH=str(ROOT),
        DISTRIQUEUE_BROKER_URL=rabbitmq.url,
        DISTRIQUEUE_GATEWAY_URL=",".join(urls[name] for name in _names("gateway", GATEWAYS)),
        DISTRIQUEUE_ORCHESTRATOR_URLS=",".join(urls[name] for name in raft),
        DISTRIQUEUE_PEERS=",".join(f"{name}=http://127.0.0.1:{port}" for name, port in raft.items()),
        DISTRIQUEUE_CLUSTER_SECRET=secrets.token_urlsafe(24),
        DISTRIQUEUE_WORKER_DRAIN="5",
    )
    stored = env | {"DISTRIQUEUE_DATABASE_URL": database_url}
    gateways = [
        Service(name, ("gateway",), stored | {"DISTRIQUEUE_GATEWAY_PORT": str(api[name])}, home, url=urls[name])
        for name in _names("gateway", GATEWAYS)
    ]
    orchestrators = [
        Service(
            name,
            ("orchestrator",),
            stored
            | {
                "DISTRIQUEUE_ORCHESTRATOR_PORT": str(api[name]),
                "DISTRIQUEUE_NODE_ID": name,
                "DISTRIQUEUE_DATA_DIR": str(home / name),
            },
            home,
            url=urls[name],
        )
        for name in raft
    ]
    workers = [
        Service(
            name,
            ("workers",),
            env | {"DISTRIQUEUE_WORKER_ID": name, "DISTRIQUEUE_WORKER_METRICS_PORT": str(port)},
            home,
        )
        for name, port in shown.items()
    ]
    addresses = {name: f"127.0.0.1:{port}" for name, port in (api | shown).items()}
    prometheus = PrometheusServer(
        home,
        {
            "gateway": [addresses[each.name] for each in gateways],
            "orchestrator": [addresses[each.name] for each in orchestrators],
            "worker": [addresses[each.name] for each in workers],
            "rabbitmq": [f"127.0.0.1:{rabbitmq.metrics_port}"],
            "rabbitmq-queues": [f"127.0.0.1:{rabbitmq.metrics_port}"],
        },
        hold_s=HOLD_S,
    )
    endpoints = [f"http://{address}/metrics" for address in addresses.values()]
    made = Watched(gateways, orchestrators, workers, prometheus, endpoints)
    try:
        await all_of(*(each.start for each in gateways + orchestrators))
        await all_of(*(each.start for each in workers))
        await asyncio.to_thread(prometheus.start)
        yield made
    except BaseException:
        for service in made.services:
            print(f"---- {service.name}\n{service.log()[-2000:]}")
        raise
    finally:
        prometheus.close()
        await all_of(*(each.kill for each in made.services if each.is_running))


def _names(kind: str, number: int) -> list[str]:
    return [f"{kind}{each}" for each in range(1, number + 1)]


async def all_of(*calls: Any) -> None:
    """Make all calls, which block, at once."""
    async with asyncio.TaskGroup() as group:
        for each in calls:
            group.create_task(asyncio.to_thread(partial(each)))
