"""The submitting processes: what they post, what they wait for, and from when they count."""

import asyncio
import json
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import pytest

from benchmarks.load.http import Connection, Endpoint, Poster, RequestFailed
from benchmarks.load.paced import submit_async, submit_threads
from benchmarks.load.plan import Plan, Submitted, due
from benchmarks.measure import quantile

STALL_S = 0.2
URL = "http://127.0.0.1:99/jobs"


def test_submissions_are_numbered_and_cut_into_batches() -> None:
    assert Plan(5, 1, batch=2).submissions() == [[0, 1], [2, 3], [4]]
    assert Plan(2, 1, first=-2).submissions() == [[-2], [-1]]


def test_an_open_loop_is_due_at_its_rate() -> None:
    assert list(due(Plan(3, 1, per_s=100.0), 1_000)) == [1_000, 10_001_000, 20_001_000]
    assert len(list(due(Plan(5, 1, batch=2, per_s=100.0), 0))) == 3


def test_what_was_submitted_crosses_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    told = Submitted(1, 9, 5, (1, 2), (4, 9))
    print("something that a library wrote")
    told.tell()
    assert Submitted.decode(capsys.readouterr().out) == told
    assert told.submit_ms() == [3e-6, 7e-6]


def test_a_plan_crosses_a_pipe_with_more() -> None:
    told = json.loads(Plan(3, 2, per_s=4.0).encode(endpoint={"item": "x"}))
    assert told.pop("endpoint") == {"item": "x"}
    assert Plan(**told) == Plan(3, 2, per_s=4.0)


def test_threads_count_from_when_a_submission_was_due_and_not_from_when_it_began() -> None:
    def enqueue(numbers: Sequence[int]) -> None:
        if numbers == [0]:
            time.sleep(STALL_S)  # the system stalls once; the only caller is held

    submitted = submit_threads(Plan(10, 1, per_s=1000.0), enqueue)
    assert submitted.due_ns[9] - submitted.due_ns[0] == 9_000_000
    # Nine submissions took no time themselves, and all of them were late.
    assert min(submitted.submit_ms()) >= 1000 * STALL_S - 10


async def test_async_callers_count_from_when_a_submission_was_due() -> None:
    turn = asyncio.Lock()

    async def enqueue(numbers: Sequence[int]) -> None:
        async with turn:
            if numbers == [0]:
                await asyncio.sleep(STALL_S)

    submitted = await submit_async(Plan(10, 1, per_s=1000.0), enqueue)
    assert min(submitted.submit_ms()) >= 1000 * STALL_S - 10


@pytest.mark.parametrize("callers", [1, 3])
def test_threads_submit_everything_once(callers: int) -> None:
    seen: list[int] = []
    at_once, most, lock = 0, 0, threading.Lock()

    def enqueue(numbers: Sequence[int]) -> None:
        nonlocal at_once, most
        with lock:
            at_once += 1
            most = max(most, at_once)
            seen.extend(numbers)
        with lock:
            at_once -= 1

    submitted = submit_threads(Plan(50, callers, batch=3), enqueue)
    assert sorted(seen) == list(range(50))
    assert most <= callers
    assert submitted.last_ns >= submitted.first_ns


def test_a_thread_that_fails_fails_the_submission() -> None:
    def enqueue(_numbers: Sequence[int]) -> None:
        raise OSError("refused")

    with pytest.raises(OSError, match="refused"):
        submit_threads(Plan(5, 2), enqueue)


async def test_async_callers_submit_everything_once_and_no_more_at_a_time() -> None:
    seen: list[int] = []
    at_once = most = 0

    async def enqueue(numbers: Sequence[int]) -> None:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        await asyncio.sleep(0)
        seen.extend(numbers)
        at_once -= 1

    await submit_async(Plan(40, 4), enqueue)
    assert sorted(seen) == list(range(40))
    assert most == 4


def test_a_request_is_whole_and_of_the_right_length() -> None:
    endpoint = Endpoint([URL], '{"a":@}', '{"jobs":[', "]}")
    head, _, body = endpoint.request([7, 8]).partition(b"\r\n\r\n")
    assert json.loads(body) == {"jobs": [{"a": 7}, {"a": 8}]}
    assert head.startswith(b"POST /jobs HTTP/1.1\r\nHost: 127.0.0.1:99\r\n")
    assert f"Content-Length: {len(body)}".encode() in head


class Wire:
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        self.written: list[bytes] = []

    def write(self, data: bytes) -> None:
        self.written.append(data)

    def abort(self) -> None:
        self.written.append(b"aborted")


def connected(answered: Callable[[Connection, int], None], failed: Callable[[str], None]) -> tuple[Connection, Wire]:
    connection, wire = Connection(answered, failed, lambda _connection: failed("lost")), Wire()
    transport: Any = wire
    connection.connection_made(transport)
    return connection, wire


def test_an_answer_may_come_in_pieces() -> None:
    answers: list[int] = []
    failures: list[str] = []
    connection, wire = connected(lambda _connection, place: answers.append(place), failures.append)
    connection.send(b"request", 4)
    assert wire.written == [b"request"]
    for piece in (b"HTTP/1.1 202 Acc", b"epted\r\nContent-", b"Length: 4\r\n\r\n", b"ab"):
        connection.data_received(piece)
        assert answers == []
    connection.data_received(b"cd")
    assert answers == [4]
    connection.send(b"another", 5)
    connection.data_received(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
    assert (answers, failures) == ([4, 5], [])


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"HTTP/1.1 429 Too Many\r\nContent-Length: 4\r\n\r\nfull", "429: b'full'"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "without a length"),
    ],
)
def test_an_answer_that_is_no_acceptance_fails(answer: bytes, reason: str) -> None:
    answers: list[int] = []
    failures: list[str] = []
    connection, _ = connected(lambda _connection, place: answers.append(place), failures.append)
    connection.send(b"request", 0)
    connection.data_received(answer)
    assert answers == []
    assert reason in failures[0]


def test_a_connection_that_breaks_fails_when_an_answer_is_due() -> None:
    failures: list[str] = []
    busy, _ = connected(lambda _connection, _place: None, failures.append)
    busy.send(b"request", 0)
    busy.connection_lost(None)
    assert failures == ["the connection broke: None"]
    idle, _ = connected(lambda _connection, _place: None, failures.append)
    idle.send(b"request", 0)
    idle.data_received(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
    idle.connection_lost(None)
    assert failures[1:] == ["lost"]
    closed, wire = connected(lambda _connection, _place: None, failures.append)
    closed.send(b"request", 0)
    closed.close()
    closed.connection_lost(None)
    assert wire.written == [b"request", b"aborted"]
    assert len(failures) == 2


class Server:
    """Answers in memory what is posted to any port, after a while that depends on the job's number."""

    def __init__(self, delay_s: Callable[[int], float], status: bytes = b"202 Accepted") -> None:
        self.asked: list[tuple[int, int]] = []
        """Port and number, in order."""
        self.connections: list[Connection] = []
        self._delay_s = delay_s
        self._status = status

    async def create_connection(self, make: Callable[[], Connection], _host: str, port: int) -> tuple[Any, Connection]:
        """Stand in for the loop's."""
        connection = make()
        self.connections.append(connection)
        wire: Any = Wire()
        wire.write = partial(self._answer, connection, port)
        connection.connection_made(wire)
        return wire, connection

    def _answer(self, connection: Connection, port: int, request: bytes) -> None:
        number = json.loads(request.partition(b"\r\n\r\n")[2])["a"]
        self.asked.append((port, number))
        answer = b"HTTP/1.1 " + self._status + b"\r\nContent-Length: 2\r\n\r\n{}"
        asyncio.get_running_loop().call_later(self._delay_s(number), connection.data_received, answer)


async def test_posts_count_from_when_they_were_due_although_no_connection_was_free(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server = Server(lambda number: STALL_S if number == 0 else 0.0)
    monkeypatch.setattr(asyncio.get_running_loop(), "create_connection", server.create_connection)
    submitted = await Poster(Plan(10, 1, per_s=1000.0), Endpoint([URL], '{"a":@}')).run()
    assert min(submitted.submit_ms()) >= 1000 * STALL_S - 10
    assert submitted.first_ns == submitted.due_ns[0]
    assert [number for _, number in server.asked] == list(range(10))


async def test_posts_use_all_servers(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server(lambda _number: 0.0)
    monkeypatch.setattr(asyncio.get_running_loop(), "create_connection", server.create_connection)
    await Poster(Plan(20, 2), Endpoint([URL, URL.replace("99", "98")], '{"a":@}')).run()
    assert {port for port, _ in server.asked} == {98, 99}
    assert sorted(number for _, number in server.asked) == list(range(20))


async def test_posts_end_at_the_first_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server(lambda _number: 0.0, b"429 Too Many Requests")
    monkeypatch.setattr(asyncio.get_running_loop(), "create_connection", server.create_connection)
    with pytest.raises(RequestFailed, match="429"):
        await Poster(Plan(20, 2), Endpoint([URL], '{"a":@}')).run()
    assert len(server.asked) <= 2


async def test_connections_take_turns_and_one_that_the_server_closes_is_not_missed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def delay_s(number: int) -> float:
        if number == 1:
            server.connections[0].connection_lost(None)  # idle: it was the first to be answered
        return 0.0

    server = Server(delay_s)
    monkeypatch.setattr(asyncio.get_running_loop(), "create_connection", server.create_connection)
    urls = [URL.replace("99", str(port)) for port in (90, 91, 92)]
    await Poster(Plan(6, 3, per_s=100.0), Endpoint(urls, '{"a":@}')).run()
    assert server.asked == [(90, 0), (91, 1), (92, 2), (91, 3), (92, 4), (91, 5)]


def test_quantiles() -> None:
    assert quantile([4.0, 1.0, 3.0, 2.0], 0.5) == 2.5
    assert quantile(list(range(1, 1001)), 0.99) == 990
    assert quantile([5.0], 0.99) == 5.0
