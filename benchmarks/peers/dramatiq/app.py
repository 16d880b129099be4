"""The Dramatiq actor, and as a program what submits to it."""

import os
from collections.abc import Sequence
from typing import Any, Final

import dramatiq
from dramatiq.brokers.rabbitmq import RabbitmqBroker

from benchmarks.load.paced import submit_threads
from benchmarks.load.plan import Plan
from benchmarks.peers.peer import RABBITMQ
from benchmarks.systems.marks import MarkWriter


class QuorumBroker(RabbitmqBroker):  # type: ignore[misc]  # untyped where the library is not installed
    """Declares the queue with RabbitMQ's argument for a quorum queue."""

    def _declare_queue(self, queue_name: str) -> Any:
        arguments = {**self._build_queue_arguments(queue_name), "x-queue-type": "quorum"}
        return self.channel.queue_declare(queue=queue_name, durable=True, arguments=arguments)


dramatiq.set_broker(QuorumBroker(url=os.environ[RABBITMQ], confirm_delivery=True))
_marks: Final = MarkWriter()


def _add(a: int, b: int) -> None:
    _marks.add(a, b)


add: Final[Any] = dramatiq.actor(_add, actor_name="add")


def _enqueue(numbers: Sequence[int]) -> None:
    for number in numbers:
        add.send(number, 1)


if __name__ == "__main__":
    submit_threads(Plan.read(), _enqueue).tell()
