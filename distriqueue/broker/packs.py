"""Several jobs of one lane in one message: what a message costs is shared by the jobs that were sent together.

    for each in pack(dispatches, most=16):
        send(each.lane, each.body)
    dispatches = unpack(body)

The wire, for workers in any language: a message's body is one dispatch, a JSON object of version 1 as
`core.messages.Dispatch` writes it, or several, each on a line of its own. So a reader splits the body at each line feed
(0x0A; there is none inside a dispatch) and reads each line as it would a message of one dispatch. They are all of the
message's lane, the oldest first. The message is acked when each of its jobs is decided, claimed or refused. If one is
given back instead, the whole message is, once the others are decided; when it is delivered again, their claims are
refused. A body with a line that is no dispatch is dead-lettered whole, and the reconciler sends again what was good.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from distriqueue.core.job import Priority
from distriqueue.core.messages import Dispatch

MESSAGES: Final = 8
"""A lane's share of one publish makes at least so many messages, so that as many workers can begin with it at once."""
MAX_BYTES: Final = 65_536
"""Of a body with several dispatches; a larger dispatch goes alone."""
_APART: Final = b"\n"


@dataclass(slots=True)
class Pack:
    """One message."""

    lane: Priority
    places: list[int] = field(default_factory=list)
    """Which of the given dispatches are in it."""
    lines: list[bytes] = field(default_factory=list)
    size_bytes: int = 0

    @property
    def body(self) -> bytes:
        """The message's body."""
        return _APART.join(self.lines)

    def add(self, place: int, line: bytes) -> None:
        """Put one more in."""
        self.places.append(place)
        self.lines.append(line)
        self.size_bytes += len(line) + len(_APART)

    def has_room(self, line: bytes, most: int) -> bool:
        """Tell whether one more may go in."""
        return len(self.lines) < most and self.size_bytes + len(line) <= MAX_BYTES


def pack(dispatches: Sequence[Dispatch], *, most: int) -> Iterator[Pack]:
    """Yield the messages that say all of this, each lane's in order; at most `most` dispatches in one.

    Their size grows with how many go out together, so a few jobs are never held by one worker while others idle.
    """
    counts = Counter(each.priority for each in dispatches)
    sizes = {lane: max(1, min(most, count // MESSAGES)) for lane, count in counts.items()}
    begun: dict[Priority, Pack] = {}
    for place, dispatch in enumerate(dispatches):
        lane = dispatch.priority
        line = dispatch.encode()
        current = begun.get(lane)
        if current is None:
            current = begun[lane] = Pack(lane)
        elif not current.has_room(line, sizes[lane]):
            yield current
            current = begun[lane] = Pack(lane)
        current.add(place, line)
    yield from begun.values()


def unpack(body: bytes) -> list[Dispatch]:
    """Read a message's body; UnreadableDispatch says what is wrong with it."""
    return [Dispatch.decode(line) for line in body.strip().split(_APART)]
