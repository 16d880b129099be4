"""Jobs submitted one at a time, until the last has ended.

Ours and the stack are posted to over 64 connections; the libraries' clients have as many callers as their packages in
`benchmarks.peers` say. How many jobs a launch takes is what each runs in some seconds.
"""

from functools import partial
from typing import Final

from benchmarks.measure import ACCEPTED, RATE, rate
from benchmarks.model import Broker, Contender, Scene, Suite, Target
from benchmarks.peers import celery, dramatiq, pgqueuer, procrastinate, stack, taskiq
from benchmarks.peers.peer import Peer
from benchmarks.systems import ours

CONNECTIONS: Final = 64
AS_FIRST_WRITTEN: Final = 15
"""SQLAlchemy's pool as it comes has 15 connections, and those that wait for one for 30 s are answered 500."""


async def _ours(broker: Broker, jobs: int, scene: Scene) -> dict[str, float]:
    async with ours.opened(scene, broker) as system:
        return await rate(system, scene, jobs=jobs, callers=CONNECTIONS)


async def _stack(variant: stack.Variant, jobs: int, scene: Scene) -> dict[str, float]:
    async with stack.opened(scene, variant) as system:
        return await rate(system, scene, jobs=jobs, callers=CONNECTIONS if variant == "tuned" else AS_FIRST_WRITTEN)


async def _peer(peer: Peer, jobs: int, callers: int, scene: Scene) -> dict[str, float]:
    async with peer.opened(scene) as system:
        return await rate(system, scene, jobs=jobs, callers=callers)


def _contender(name: str, peer: Peer, jobs: int, callers: int) -> Contender:
    return Contender(name, partial(_peer, peer, jobs, callers), peer.guarantees)


SUITE: Final = Suite(
    name="single",
    title="Single submissions, end to end",
    metrics=(RATE, ACCEPTED),
    contenders=(
        Contender("ours on RabbitMQ", partial(_ours, "rabbitmq", 20_000), ours.GUARANTEES),
        Contender("ours on Postgres", partial(_ours, "postgres", 20_000), ours.GUARANTEES),
        Contender("the stack, tuned", partial(_stack, "tuned", 5_000), stack.GUARANTEES["tuned"]),
        Contender("the stack, as first written", partial(_stack, "plain", 2_000), stack.GUARANTEES["plain"]),
        _contender("Celery, results in Postgres", celery.PEERS["postgres"], 3_000, celery.CALLERS),
        _contender("Celery, results by rpc", celery.PEERS["rpc"], 8_000, celery.CALLERS),
        _contender("Celery, results ignored", celery.PEERS["ignored"], 12_000, celery.CALLERS),
        _contender("Dramatiq", dramatiq.PEER, 30_000, dramatiq.CALLERS),
        _contender("Taskiq", taskiq.PEER, 20_000, taskiq.CALLERS),
        _contender("Procrastinate", procrastinate.PEER, 3_000, procrastinate.CALLERS),
        _contender("PgQueuer", pgqueuer.PEER, 6_000, pgqueuer.CALLERS),
    ),
    targets=(
        Target("5 × the tuned stack", RATE.key, "ours on RabbitMQ", ">=", 5.0, "the stack, tuned"),
        Target("as fast as Dramatiq", RATE.key, "ours on RabbitMQ", ">=", 1.0, "Dramatiq"),
        Target("embedded: 0.8 × that on RabbitMQ", RATE.key, "ours on Postgres", ">=", 0.8, "ours on RabbitMQ"),
    ),
)
