"""What the brokers hold, by name: the same four lanes and a place for unreadable messages on each."""

from typing import Final

from distriqueue.core.job import Priority

LANES: Final = tuple(Priority)
EXCHANGE: Final = "jobs.exchange"
DEAD_QUEUE: Final = "job.dead"

RECONNECT_CAP_S: Final = 2.0
"""Longest pause between two tries to connect: jobs wait for it."""

DEAD_BOUND: Final = 100_000
"""Unreadable messages kept for a person to look at; the oldest go first."""

# RabbitMQ 4 dead-letters after 20 deliveries unless told otherwise, and a release by a busy or draining worker is one
# of them. Its -1 for "no limit" is refused by 3.x; a limit that nobody reaches is declarable on all. What bounds the
# tries of a job is its record in Postgres.
DELIVERY_LIMIT: Final = 1_000_000_000

LANE_ARGUMENTS: Final[dict[str, str | int]] = {
    "x-queue-type": "quorum",
    "x-delivery-limit": DELIVERY_LIMIT,
    "x-dead-letter-exchange": "",
    "x-dead-letter-routing-key": DEAD_QUEUE,
}
DEAD_ARGUMENTS: Final[dict[str, str | int]] = {
    "x-queue-type": "quorum",
    "x-delivery-limit": DELIVERY_LIMIT,
    "x-max-length": DEAD_BOUND,
}
