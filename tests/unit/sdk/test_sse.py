"""Server-sent events, however the network cuts them."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distriqueue.sdk import sse
from distriqueue.sdk.errors import UnexpectedAnswer
from distriqueue.sdk.sse import EventParser, ServerSent

STREAM = (
    b": ping - 2030\r\n\r\n"
    b'id: 7\nevent: connected\ndata: {"lastEventId": "7"}\n\n'
    b"id: 8\r\nevent: job-update\r\ndata: {\r\ndata: }\r\n\r\n"
    b"retry: 10\n\n"
    b"data:without name\n\n"
    b"id: 9\revent: reset\rdata: \xc3\xa9\r\r"
    b"\n"
)
EVENTS = [
    ServerSent("7", "connected", '{"lastEventId": "7"}'),
    ServerSent("8", "job-update", "{\n}"),
    ServerSent("8", "message", "without name"),
    ServerSent("9", "reset", "é"),
]


@given(st.lists(st.integers(0, len(STREAM))))
def test_cuts_change_nothing(cuts: list[int]) -> None:
    places = [0, *sorted(cuts), len(STREAM)]
    parser = EventParser()
    pieces = [STREAM[start:end] for start, end in pairwise(places)]
    assert [event for piece in pieces for event in parser.feed(piece)] == EVENTS


def test_an_event_without_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "MAX_EVENT_BYTES", 100)
    parser = EventParser()
    parser.feed(b"data: " + b"x" * 90)
    with pytest.raises(UnexpectedAnswer, match="larger than 100 bytes"):
        parser.feed(b"x" * 90)


def test_many_lines_without_end_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "MAX_EVENT_BYTES", 100)
    parser = EventParser()
    with pytest.raises(UnexpectedAnswer):
        parser.feed(b"data: 0123456789\n" * 20)
