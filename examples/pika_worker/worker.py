"""A DistriQueue worker in `pika` and the standard library: what docs/wire-protocol.md asks for, in one file.

    DISTRIQUEUE_BROKER_URL=amqp://user:password@host/ python worker.py

It runs one job at a time, in its main thread; start it as often as there are cores. It never holds a message while it
runs a job, so RabbitMQ waits for nothing and another worker can have the rest of a pack. A second thread beats for it.
Settings: DISTRIQUEUE_BROKER_URL, _GATEWAY_URL and _ORCHESTRATOR_URLS (several separated by commas), _API_KEY,
_WORKER_ID, _WORKER_QUEUES, _WORKER_DRAIN, as other workers read them.
"""

import http.client
import json
import logging
import math
import os
import random
import secrets
import signal
import socket
import sys
import threading
import time
import traceback
import urllib.error
import urllib.request
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import pika
from pika.exceptions import AMQPError

log = logging.getLogger("pika-worker")

LANES: Final = ("CRITICAL", "HIGH", "MEDIUM", "LOW")
LANE_ARGUMENTS: Final = {
    "x-queue-type": "quorum",
    "x-delivery-limit": 1_000_000_000,
    "x-dead-letter-exchange": "",
    "x-dead-letter-routing-key": "job.dead",
}
DEAD_ARGUMENTS: Final = {"x-queue-type": "quorum", "x-delivery-limit": 1_000_000_000, "x-max-length": 100_000}
IDLE_S: Final = 0.2
"""Between two looks at empty lanes."""
BEAT_S: Final = 1.0
BEAT_TIMEOUT_S: Final = 1.0
REPORT_TIMEOUT_S: Final = 15.0
PROGRESS_S: Final = 0.25
BACKOFF_S: Final = (0.1, 5.0)
"""The first pause and the longest."""
REMEMBERED: Final = 10_000
FOR_GOOD: Final = frozenset({"running_elsewhere", "finished", "cancelled", "stale_attempt"})
"""Why a claim is refused, and always will be; after other reasons the same attempt may be sent again."""
ABOUT_OTHERS: Final = frozenset({401, 403, 404, 405, 408, 421, 425, 429})
"""Client errors that say nothing of the report itself: a wrong key or address, or a gateway that wants us to wait."""


class Unanswered(Exception):
    """No gateway has answered, or none could: the same report is to be sent again."""

    def __init__(self, message: str, wait_s: float = 0.0) -> None:
        super().__init__(message)
        self.wait_s = wait_s


class Rejected(Exception):
    """The gateway will never take this report."""


class Stopped(Exception):
    """Raised inside a handler that is to stop; `end` is what is reported then, None for nothing."""

    def __init__(self, end: dict[str, str] | None) -> None:
        super().__init__(end)
        self.end = end


# ------------------------------------------------------------------------------------------------------ what a job does


def primes(job: "Job") -> dict[str, int]:
    """Count the primes below `below`, block by block; with `pauseMs` slowly, to be watched."""
    below, size = int(job.payload["below"]), int(job.payload.get("block", 1000))
    done = job.resume or {"next": 2, "found": 0}
    if job.resume:
        job.log(f"goes on at {done['next']}")
    for start in range(done["next"], below, size):
        end = min(start + size, below)
        done = {"next": end, "found": done["found"] + sum(map(_is_prime, range(start, end)))}
        job.checkpoint(done)
        job.progress(100 * end / below, f"{done['found']} primes below {end}")
        job.rest(float(job.payload.get("pauseMs", 0)) / 1000)
    return {"below": below, "primes": done["found"]}


def _is_prime(number: int) -> bool:
    return number > 1 and all(number % divisor for divisor in range(2, math.isqrt(number) + 1))


HANDLERS: Final[dict[str, Callable[["Job"], object]]] = {"primes": primes}


# ------------------------------------------------------------------------------------------------------------- dispatch


@dataclass(frozen=True)
class Dispatch:
    """Job J, attempt N is ready."""

    job_id: str
    attempt: int
    type: str
    timeout_s: float
    payload: dict[str, Any]

    @property
    def key(self) -> tuple[str, int]:
        """What a claim is about."""
        return self.job_id, self.attempt


def unpack(body: bytes) -> list[Dispatch]:
    """Read a message: one dispatch a line. ValueError, KeyError, TypeError for what is none."""
    found = []
    for line in body.strip().split(b"\n"):
        fields = json.loads(line)
        if fields["v"] != 1 or not isinstance(fields["payload"], dict):
            raise ValueError("not a dispatch of version 1")
        found.append(
            Dispatch(
                fields["jobId"],
                int(fields["attempt"]),
                fields["type"],
                float(fields["executionTimeout"]),
                fields["payload"],
            )
        )
    return found


# ------------------------------------------------------------------------------------------------ gateway, orchestrator


def post(url: str, body: object, *, timeout_s: float) -> Any:
    """Send JSON and return the JSON that is answered; Unanswered, Rejected."""
    headers = {"Content-Type": "application/json"}
    if key := os.environ.get("DISTRIQUEUE_API_KEY"):
        headers["Authorization"] = f"Bearer {key}"
    request = urllib.request.Request(url, json.dumps(body, allow_nan=False).encode(), headers, method="POST")
    try:
        with urllib.request.urlopen(request, timeout=timeout_s) as response:
            return json.load(response)
    except urllib.error.HTTPError as exc:
        with exc:
            said = f"{url} answered {exc.code}: {exc.read(300).decode(errors='replace')}"
        if 400 <= exc.code < 500 and exc.code not in ABOUT_OTHERS:
            raise Rejected(said) from exc
        wait = exc.headers.get("Retry-After") or ""
        raise Unanswered(said, min(float(wait), 60.0) if wait.isdigit() else 0.0) from exc
    except (OSError, http.client.HTTPException, json.JSONDecodeError) as exc:
        raise Unanswered(f"{url}: {type(exc).__name__} {exc}") from exc


class Gateways:
    """Where reports go: the one that answered last, or another."""

    def __init__(self, urls: list[str], worker_id: str, gives_up: Callable[[], bool]) -> None:
        self._urls = [f"{url}/api/jobs/status" for url in urls]
        self._worker_id = worker_id
        self._gives_up = gives_up

    def once(self, dispatch: Dispatch, status: str, **said: object) -> dict[str, Any]:
        """Report one thing, and return the answer; Unanswered, Rejected."""
        report = {"jobId": dispatch.job_id, "attempt": dispatch.attempt, "status": status, "workerId": self._worker_id}
        try:
            answer: dict[str, Any] = post(self._urls[0], report | said, timeout_s=REPORT_TIMEOUT_S)
        except Unanswered:
            self._urls.append(self._urls.pop(0))
            raise
        return answer

    def until_answered(self, dispatch: Dispatch, status: str, **said: object) -> dict[str, Any]:
        """Report until a gateway answers: a repeated report gets its first answer again. Rejected, Unanswered."""
        pause_s = BACKOFF_S[0]
        while True:
            try:
                return self.once(dispatch, status, **said)
            except Unanswered as exc:
                if self._gives_up():
                    raise
                log.warning("%s of %s waits: %s", status, dispatch.job_id, exc)
                time.sleep(max(pause_s * (0.5 + random.random() / 2), exc.wait_s))  # noqa: S311 -- jitter
                pause_s = min(2 * pause_s, BACKOFF_S[1])


class Heart(threading.Thread):
    """Tells the orchestrators once a second that we live, and keeps what they answer."""

    def __init__(self, urls: list[str], worker_id: str) -> None:
        super().__init__(name="heart", daemon=True)
        self._urls = [f"{url}/api/workers/heartbeat" for url in urls]
        self._worker_id = worker_id
        self._over = threading.Event()
        self.load = 0
        self.stopping = False
        self.cancel: frozenset[str] = frozenset()
        self.paused: frozenset[str] = frozenset()
        self.drain = False

    def run(self) -> None:
        """Beat until `close`."""
        while not self._over.wait(BEAT_S):
            self.beat()
        self.beat(stopped=True)

    def beat(self, *, stopped: bool = False) -> None:
        """Beat once, at the first orchestrator that answers."""
        beat = {
            "workerId": self._worker_id,
            "workerType": "pika",
            "capacity": 1,
            "currentLoad": self.load,
            "types": sorted(HANDLERS),
            "stopping": self.stopping or stopped,
            "stopped": stopped,
        }
        for _ in self._urls:
            try:
                answer = post(self._urls[0], beat, timeout_s=BEAT_TIMEOUT_S)
            except (Unanswered, Rejected) as exc:
                log.warning("no heartbeat: %s", exc)
                self._urls.append(self._urls.pop(0))
                continue
            self.cancel = frozenset(answer.get("cancel", ()))
            self.paused = frozenset(answer.get("paused", ()))
            self.drain = self.drain or bool(answer.get("drain"))
            return

    def close(self) -> None:
        """Say the last word, and end."""
        self._over.set()
        self.join(timeout=3 * BEAT_TIMEOUT_S)


# ---------------------------------------------------------------------------------------------------------------- lanes


class Lanes:
    """The queues, by one connection, which is replaced at its first fault: what it held is delivered again."""

    def __init__(self, url: str, lanes: list[str]) -> None:
        self._parameters = pika.URLParameters(url)
        self._lanes = lanes
        self._connection: pika.BlockingConnection | None = None
        self._channel: Any = None

    def take(self, paused: frozenset[str]) -> tuple[int, bytes] | None:
        """Take the next message of the most urgent lane that has one, as its delivery tag and body; AMQPError."""
        if self._connection is None:
            self._connect()
        for lane in self._lanes:
            if lane not in paused:
                method, _, body = self._channel.basic_get(f"job.{lane.lower()}")
                if method is not None:
                    return method.delivery_tag, body
        return None

    def ack(self, tag: int) -> None:
        """All of the message is decided. Never raises for a lost connection: it is delivered again then."""
        self._settle(lambda channel: channel.basic_ack(tag))

    def give_back(self, tag: int) -> None:
        """Some of the message is for others."""
        self._settle(lambda channel: channel.basic_nack(tag, requeue=True))

    def bury(self, tag: int) -> None:
        """It is no message of ours: to the dead letters."""
        self._settle(lambda channel: channel.basic_reject(tag, requeue=False))

    def breathe(self, seconds: float) -> None:
        """Serve the connection for so long, so that the server knows that we live; never raises for a lost one."""
        if self._connection is None:
            time.sleep(seconds)
            return
        try:
            self._connection.process_data_events(time_limit=seconds)
        except AMQPError as exc:
            self.lose(exc)

    def lose(self, why: BaseException) -> None:
        """Drop the connection; the next `take` makes another."""
        log.warning("RabbitMQ is lost: %r", why)
        connection, self._connection, self._channel = self._connection, None, None
        if connection is not None and connection.is_open:
            try:
                connection.close()
            except AMQPError as exc:
                log.debug("close: %r", exc)

    def close(self) -> None:
        """End in good order."""
        if self._connection is not None and self._connection.is_open:
            self._connection.close()

    def _settle(self, tell: Callable[[Any], None]) -> None:
        try:
            tell(self._channel)
        except AMQPError as exc:
            self.lose(exc)

    def _connect(self) -> None:
        self._connection = pika.BlockingConnection(self._parameters)
        self._channel = self._connection.channel()
        self._channel.queue_declare("job.dead", durable=True, arguments=DEAD_ARGUMENTS)
        for lane in self._lanes:
            self._channel.queue_declare(f"job.{lane.lower()}", durable=True, arguments=LANE_ARGUMENTS)


# ------------------------------------------------------------------------------------------------------------------ job


class Job:
    """An accepted attempt, as its handler sees it. Handlers call `progress` or `rest` often: they stop there."""

    def __init__(self, worker: "Worker", dispatch: Dispatch, granted: dict[str, Any]) -> None:
        self.dispatch = dispatch
        self.payload = dispatch.payload
        self.resume = granted.get("checkpoint")
        """Where an earlier attempt has come to."""
        self.parents = granted.get("parents", [])
        """How the jobs ended that this one has waited for."""
        self._worker = worker
        self._deadline = time.monotonic() + dispatch.timeout_s
        self._news: dict[str, Any] = {}
        self._lines = 0
        self._sent_at = -math.inf

    def progress(self, percent: float, message: str = "") -> None:
        """Tell how far it is; sent a few times a second."""
        self._news |= {"progress": percent, "progressMessage": message[:500]}
        self.rest(0.0)

    def log(self, message: str) -> None:
        """Write a line that is kept with the job."""
        self._lines += 1
        if self._lines <= 1000:
            line = {"n": self._lines, "at": datetime.now(UTC).isoformat(), "message": message[:2000]}
            self._news.setdefault("logs", []).append(line)

    def checkpoint(self, data: object) -> None:
        """Leave JSON of at most 64 KiB for the next attempt."""
        self._news["checkpoint"] = data

    def rest(self, seconds: float) -> None:
        """Wait, tell what is new, and stop if that is wanted (Stopped)."""
        until = time.monotonic() + seconds
        while True:
            self._worker.lanes.breathe(min(max(until - time.monotonic(), 0.0), 0.1))
            self._stop_if_asked()
            if time.monotonic() - self._sent_at >= PROGRESS_S:
                self._tell()
            if time.monotonic() >= until:
                return

    def last_news(self) -> dict[str, Any]:
        """Return what goes with the end."""
        return {name: value for name, value in self._news.items() if name in ("logs", "checkpoint")}

    def _stop_if_asked(self) -> None:
        if time.monotonic() > self._deadline:
            text = f"no end within {self.dispatch.timeout_s:g} s"
            raise Stopped({"status": "timeout", "errorType": "timeout", "errorMessage": text})
        if self.dispatch.job_id in self._worker.heart.cancel:
            raise Stopped({"status": "cancelled"})
        if self._worker.is_late:
            raise Stopped({"status": "released"})

    def _tell(self) -> None:
        if not self._news:
            return
        self._sent_at = time.monotonic()
        try:
            answer = self._worker.gateways.once(self.dispatch, "running", **self._news)
        except Unanswered as exc:
            log.warning("progress waits: %s", exc)
            return
        except Rejected as exc:
            log.warning("progress is rejected: %s", exc)
        else:
            if answer["answer"] == "stale":
                raise Stopped(None)
        self._news = {}


class Worker:
    """Takes, claims, runs and reports, one job at a time."""

    def __init__(self, lanes: Lanes, gateways: list[str], orchestrators: list[str], *, name: str, drain_s: float):
        self.worker_id = f"{name}.{secrets.token_hex(3)}"  # new at every start, see "Worker ids"
        self.lanes = lanes
        self.gateways = Gateways(gateways, self.worker_id, gives_up=lambda: self.is_late)
        self.heart = Heart(orchestrators, self.worker_id)
        self._drain_s = drain_s
        self._stop_at = math.inf
        self._decided: OrderedDict[tuple[str, int], None] = OrderedDict()

    @property
    def is_late(self) -> bool:
        """Whether the time to end in good order is used up."""
        return time.monotonic() > self._stop_at

    def stop(self, *_signal: object) -> None:
        """Take no more; what runs has the drain time to end."""
        if self._stop_at == math.inf:
            self._stop_at = time.monotonic() + self._drain_s
            self.heart.stopping = True

    def run(self) -> None:
        """Work until told to stop."""
        self.heart.beat()
        self.heart.start()
        log.info("worker %s takes %s", self.worker_id, ", ".join(HANDLERS))
        try:
            self._take_until_stopped()
        except Unanswered as exc:
            log.warning("the last report is not delivered, and the job will be run again: %s", exc)
        self.lanes.close()
        self.heart.close()
        log.info("worker %s has stopped", self.worker_id)

    def _take_until_stopped(self) -> None:
        pause_s = BACKOFF_S[0]
        while self._stop_at == math.inf:
            try:
                message = self.lanes.take(self.heart.paused)
                if message is None:
                    self.lanes.breathe(IDLE_S)
                else:
                    self._decide(*message)
                pause_s = BACKOFF_S[0]
            except AMQPError as exc:
                self.lanes.lose(exc)
                time.sleep(pause_s)
                pause_s = min(2 * pause_s, BACKOFF_S[1])
            if self.heart.drain:
                self.stop()

    def _decide(self, tag: int, body: bytes) -> None:
        """Claim the jobs of a message in turn; run the first that is ours, and leave those behind it to others."""
        try:
            dispatches = unpack(body)
        except (ValueError, KeyError, TypeError) as exc:
            log.warning("a message that cannot be read: %r", exc)
            self.lanes.bury(tag)
            return
        last = len(dispatches)
        for place, dispatch in enumerate(dispatches, 1):
            if dispatch.key in self._decided:
                continue  # delivered twice
            granted = self._claim(dispatch)
            if granted is None:
                continue
            self._remember(dispatch)
            if place == last:
                self.lanes.ack(tag)
            else:
                self.lanes.give_back(tag)
            self._execute(dispatch, granted)
            return
        self.lanes.ack(tag)

    def _claim(self, dispatch: Dispatch) -> dict[str, Any] | None:
        try:
            answer = self.gateways.until_answered(dispatch, "running")
        except Rejected as exc:
            log.warning("the claim is rejected: %s", exc)
            return None
        if answer["answer"] == "accepted":
            return answer
        if answer.get("reason") in FOR_GOOD:
            self._remember(dispatch)
        return None

    def _remember(self, dispatch: Dispatch) -> None:
        self._decided[dispatch.key] = None
        if len(self._decided) > REMEMBERED:
            self._decided.popitem(last=False)

    def _execute(self, dispatch: Dispatch, granted: dict[str, Any]) -> None:
        self.heart.load = 1
        job = Job(self, dispatch, granted)
        end = self._call(job)
        if end is not None:
            self._report_end(dispatch, **end | job.last_news())
        self.heart.load = 0

    def _call(self, job: Job) -> dict[str, Any] | None:
        """Run the handler; return its end as it is reported, None when nobody waits for it."""
        handler = HANDLERS.get(job.dispatch.type)
        if handler is None:
            known = ", ".join(sorted(HANDLERS))
            text = f"no handler for type {job.dispatch.type!r}; this worker handles: {known}"
            return {"status": "failed", "errorType": "unknown_job_type", "errorMessage": text, "retryable": False}
        try:
            result = json.loads(json.dumps(handler(job), allow_nan=False))
        except Stopped as stopped:
            log.info("job %s stops: %s", job.dispatch.job_id, stopped.end or "it is not ours any more")
            return stopped.end
        except Exception as exc:  # noqa: BLE001 -- whatever the handler raises is the attempt's error
            return {
                "status": "failed",
                "errorType": type(exc).__name__,
                "errorMessage": str(exc)[:2000],
                "traceback": traceback.format_exc()[-8000:],
            }
        return {"status": "completed", "result": result}

    def _report_end(self, dispatch: Dispatch, *, status: str, **said: object) -> None:
        try:
            answer = self.gateways.until_answered(dispatch, status, **said)
        except Rejected as exc:
            log.warning("the end is rejected: %s", exc)
            instead = {"errorType": "report_rejected", "errorMessage": str(exc)[:2000], "retryable": False}
            answer = self.gateways.until_answered(dispatch, "failed", **instead)
        log.info("job %s, attempt %d: %s, %s", *dispatch.key, status, answer["answer"])


def _urls(name: str, default: str) -> list[str]:
    return [url.strip().rstrip("/") for url in os.environ.get(name, default).split(",") if url.strip()]


def main() -> None:
    """Run a worker that the environment describes."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s", stream=sys.stderr)
    logging.getLogger("pika").setLevel(logging.CRITICAL)
    queues = os.environ.get("DISTRIQUEUE_WORKER_QUEUES", ",".join(LANES)).upper().split(",")
    worker = Worker(
        Lanes(os.environ["DISTRIQUEUE_BROKER_URL"], [lane for lane in LANES if lane in queues]),
        _urls("DISTRIQUEUE_GATEWAY_URL", "http://127.0.0.1:8080"),
        _urls("DISTRIQUEUE_ORCHESTRATOR_URLS", "http://127.0.0.1:8081"),
        name=os.environ.get("DISTRIQUEUE_WORKER_ID") or f"{socket.gethostname()}-{os.getpid()}",
        drain_s=float(os.environ.get("DISTRIQUEUE_WORKER_DRAIN", "25")),
    )
    signal.signal(signal.SIGTERM, worker.stop)
    signal.signal(signal.SIGINT, worker.stop)
    worker.run()


if __name__ == "__main__":
    main()
