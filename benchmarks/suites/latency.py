"""How long things take at 100 submissions a second, which all can keep up with.

From when a submission was due: until it was answered, until its handler began, until its result was stored (where none
is stored: until its handler returned).
"""

from functools import partial
from typing import Final

from benchmarks.measure import LATENCIES, latency
from benchmarks.model import Broker, Contender, Scene, Suite, Target
from benchmarks.peers import celery, dramatiq, pgqueuer, procrastinate, stack, taskiq
from benchmarks.peers.peer import Peer
from benchmarks.systems import ours

PER_S: Final = 100.0
SECONDS: Final = 10.0
CALLERS: Final = 64
THREADS: Final = 16
"""Of the clients that block."""


async def _ours(broker: Broker, scene: Scene) -> dict[str, float]:
    async with ours.opened(scene, broker) as system:
        return await latency(system, scene, per_s=PER_S, seconds=SECONDS, callers=CALLERS)


async def _stack(variant: stack.Variant, scene: Scene) -> dict[str, float]:
    async with stack.opened(scene, variant) as system:
        return await latency(system, scene, per_s=PER_S, seconds=SECONDS, callers=CALLERS)


async def _peer(peer: Peer, callers: int, scene: Scene) -> dict[str, float]:
    async with peer.opened(scene) as system:
        return await latency(system, scene, per_s=PER_S, seconds=SECONDS, callers=callers)


def _contender(name: str, peer: Peer, callers: int, *, quick: bool = False) -> Contender:
    return Contender(name, partial(_peer, peer, callers), peer.guarantees, quick=quick)


SUITE: Final = Suite(
    name="latency",
    title="Latency at 100 submissions a second",
    metrics=LATENCIES,
    contenders=(
        Contender("ours on RabbitMQ", partial(_ours, "rabbitmq"), ours.GUARANTEES),
        Contender("ours on Postgres", partial(_ours, "postgres"), ours.GUARANTEES, quick=False),
        Contender("the stack, tuned", partial(_stack, "tuned"), stack.GUARANTEES["tuned"], quick=False),
        _contender("Celery, results ignored", celery.PEERS["ignored"], THREADS),
        _contender("Dramatiq", dramatiq.PEER, THREADS, quick=True),
        _contender("Taskiq", taskiq.PEER, CALLERS, quick=True),
        _contender("Procrastinate", procrastinate.PEER, CALLERS),
        _contender("PgQueuer", pgqueuer.PEER, CALLERS),
    ),
    targets=tuple(
        Target(f"{text} on {broker}", metric, f"ours on {broker}", "<=", factor, "the stack, tuned")
        for broker in ("RabbitMQ", "Postgres")
        for text, metric, factor in (
            ("submit p99: that of the tuned stack", "submit_p99", 1.0),
            ("completed p50: 1.2 × that of the tuned stack", "done_p50", 1.2),
            ("completed p99: that of the tuned stack", "done_p99", 1.0),
        )
    ),
)
