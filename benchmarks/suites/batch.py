"""Jobs submitted by the thousand, until the last has ended; Celery, which knows no batches, one by one."""

from functools import partial
from typing import Final

from benchmarks.measure import ACCEPTED, RATE, rate
from benchmarks.model import Broker, Contender, Scene, Suite, Target
from benchmarks.peers import celery, pgqueuer, procrastinate
from benchmarks.peers.peer import Peer
from benchmarks.systems import ours

BATCH: Final = 1_000
CONNECTIONS: Final = 4


async def _ours(broker: Broker, jobs: int, scene: Scene) -> dict[str, float]:
    async with ours.opened(scene, broker, batch=True) as system:
        return await rate(system, scene, jobs=jobs, callers=CONNECTIONS, batch=BATCH)


async def _peer(peer: Peer, jobs: int, callers: int, batch: int, scene: Scene) -> dict[str, float]:
    async with peer.opened(scene) as system:
        return await rate(system, scene, jobs=jobs, callers=callers, batch=batch)


def _contender(name: str, peer: Peer, jobs: int, callers: int, batch: int = BATCH) -> Contender:
    return Contender(name, partial(_peer, peer, jobs, callers, batch), peer.guarantees, quick=batch > 1)


SUITE: Final = Suite(
    name="batch",
    title="Batches of 1,000, end to end",
    metrics=(RATE, ACCEPTED),
    contenders=(
        Contender("ours on RabbitMQ", partial(_ours, "rabbitmq", 50_000), ours.GUARANTEES),
        Contender("ours on Postgres", partial(_ours, "postgres", 50_000), ours.GUARANTEES, quick=False),
        _contender("PgQueuer, lists", pgqueuer.PEER, 50_000, pgqueuer.BATCH_CALLERS),
        _contender("Procrastinate, batches", procrastinate.PEER, 3_000, procrastinate.BATCH_CALLERS),
        _contender("Celery, results ignored", celery.PEERS["ignored"], 12_000, celery.CALLERS, 1),
    ),
    targets=(
        Target("as fast as PgQueuer's lists", RATE.key, "ours on RabbitMQ", ">=", 1.0, "PgQueuer, lists"),
        Target("5 × Celery with ignored results", RATE.key, "ours on RabbitMQ", ">=", 5.0, "Celery, results ignored"),
        Target("embedded: 0.8 × that on RabbitMQ", RATE.key, "ours on Postgres", ">=", 0.8, "ours on RabbitMQ"),
    ),
)
