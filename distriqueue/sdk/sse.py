"""Server-sent events out of bytes, however those are cut (WHATWG HTML §9.2.6); pure."""

from dataclasses import dataclass
from typing import Final

from distriqueue.sdk.errors import UnexpectedAnswer

MAX_EVENT_BYTES: Final = 1_048_576
"""A longer one is no event of a gateway's."""


@dataclass(frozen=True, slots=True)
class ServerSent:
    """One event as it came; `id` is empty when it has none."""

    id: str
    name: str
    data: str


class EventParser:
    """Takes pieces of a stream, gives whole events; comments, which keep the connection alive, are none."""

    def __init__(self) -> None:
        self._rest = b""
        self._id = ""
        self._name = ""
        self._data: list[str] = []
        self._size_bytes = 0
        """Of the event that is not complete yet."""

    def feed(self, piece: bytes) -> list[ServerSent]:
        """Return the events that this piece completes; UnexpectedAnswer when one grows without end."""
        text = self._rest + piece
        # A carriage return at the end waits for what follows: it may be half of a line's end.
        held = b"\r" if text.endswith(b"\r") else b""
        text = text.removesuffix(b"\r").replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        *lines, rest = text.split(b"\n")
        self._rest = rest + held
        events = [event for line in lines if (event := self._line(line.decode(errors="replace"))) is not None]
        if self._size_bytes + len(self._rest) > MAX_EVENT_BYTES:
            raise UnexpectedAnswer(f"an event of the stream is larger than {MAX_EVENT_BYTES} bytes", status=200)
        return events

    def _line(self, line: str) -> ServerSent | None:
        if not line:
            return self._dispatch()
        self._size_bytes += len(line)
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        match name:
            case "data":
                self._data.append(value)
            case "event":
                self._name = value
            case "id" if "\0" not in value:
                self._id = value
        return None

    def _dispatch(self) -> ServerSent | None:
        event = ServerSent(self._id, self._name or "message", "\n".join(self._data)) if self._data else None
        self._name = ""
        self._data = []
        self._size_bytes = 0
        return event
