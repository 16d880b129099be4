"""Dramatiq on RabbitMQ, without results.

Publisher confirms; the queue is made a quorum queue by a subclass of the broker, which has no setting for it (the delay
and dead letter queues, which nothing goes to, are as they come). Submitted from several threads, each with a channel of
its own. Worker: two processes of eight threads, its defaults on two cores, with a longer prefetch.
"""

from typing import Final

from benchmarks.model import Guarantees
from benchmarks.peers.peer import Peer

APP: Final = "benchmarks.peers.dramatiq.app"
CALLERS: Final = 32
PEER: Final = Peer(
    app=APP,
    workers={"worker": ("dramatiq", APP, "--processes", "2", "--threads", "8")},
    guarantees=Guarantees(True, True, False, False, "acknowledged after it ran"),
    rabbitmq=True,
    env={"dramatiq_queue_prefetch": "128"},
)
