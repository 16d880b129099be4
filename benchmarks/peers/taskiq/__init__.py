"""Taskiq on aio-pika, without results.

Quorum queue and publisher confirms, its defaults. Submitted by concurrent tasks of one event loop (uvloop). Worker: one
process, which beside the server and the submitter on two cores was faster than two; uvloop, a prefetch of 200,
acknowledged after the task ran.
"""

from typing import Final

from benchmarks.model import Guarantees
from benchmarks.peers.peer import Peer

APP: Final = "benchmarks.peers.taskiq.app"
CALLERS: Final = 64
PREFETCH: Final = 200
PEER: Final = Peer(
    app=APP,
    workers={
        "worker": (
            *("taskiq", "worker", f"{APP}:broker", "--workers", "1", "--max-prefetch", str(PREFETCH)),
            *("--ack-type", "when_executed", "--log-level", "WARNING"),
        )
    },
    guarantees=Guarantees(True, True, False, False, "acknowledged after it ran"),
    rabbitmq=True,
)
