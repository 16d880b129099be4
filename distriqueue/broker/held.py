"""The messages in a consumer's hands."""

from collections.abc import Iterable

from distriqueue.core.ports import Delivery


class Held:
    """What one lane of one session holds: a message is decided when all of its jobs are.

    It is acked then, or given back if one of them was. A job that is decided already, or of a message that is not held,
    changes nothing: telling the broker twice would be a fault.
    """

    def __init__(self) -> None:
        self.undecided: dict[int, int] = {}
        """By tag, oldest first: the message's jobs that are not decided, as bits; 0 until the broker was told."""
        self.jobs = 0
        """How many are not decided."""
        self._to_give_back: set[int] = set()

    def __len__(self) -> int:
        return len(self.undecided)

    def add(self, tag: int, jobs: int) -> None:
        """Note a message of so many jobs."""
        self.undecided[tag] = (1 << jobs) - 1
        self.jobs += jobs

    def decide(self, deliveries: Iterable[Delivery], *, release: bool) -> tuple[list[int], list[int]]:
        """Note that these are decided; return the tags of the messages to ack now, and of those to give back.

        They stay held until `forget`, or until a settle plan takes them out.
        """
        acked: list[int] = []
        released: list[int] = []
        for delivery in deliveries:
            tag, bit = delivery.tag, 1 << delivery.part
            bits = self.undecided.get(tag, 0)
            if not bits & bit:
                continue
            self.undecided[tag] = bits ^ bit
            self.jobs -= 1
            if release:
                self._to_give_back.add(tag)
            if bits == bit:
                (released if tag in self._to_give_back else acked).append(tag)
                self._to_give_back.discard(tag)
        return acked, released

    def forget(self, tags: Iterable[int]) -> None:
        """The broker is told, or will be."""
        for tag in tags:
            self.jobs -= self.undecided.pop(tag).bit_count()
