"""The sign of life, once a second, to whichever orchestrator answers; and what it wants in return.

A worker that has nothing to do skips every other one: there is nothing of it to cancel (ADR 0017).

It has a thread of its own: a handler that blocks the event loop delays everything else, but does not make the
cluster think that this worker is gone and run its jobs a second time. What it says is read from plain
attributes; what it hears is handed to the loop.
"""

import asyncio
import random
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from typing import Final

import httpx
from pydantic import SecretStr, ValidationError

from distriqueue.core.messages import Heartbeat, HeartbeatAnswer
from distriqueue.lifecycle import wait_for
from distriqueue.telemetry import get_logger
from workers.runtime import access
from workers.runtime.tls import tls_context

log = get_logger("worker.heartbeat")

PATH: Final = "/api/workers/heartbeat"
EVERY_S: Final = 1.0
IDLE_EVERY_S: Final = 2 * EVERY_S
JITTER: Final = 0.1
"""Beats come up to a tenth early, never late: a cancel is to arrive within 1.5 s (see `orchestrator.registry`)."""
TIMEOUT_S: Final = 1.0
BLOCKED_S: Final = 2.0
"""The loop has not come round for that long: say where it is stuck."""


class HeartbeatThread:
    """Beats from `start` until `close`, which sends the last word."""

    def __init__(
        self,
        urls: Sequence[str],
        compose: Callable[[], Heartbeat],
        on_answer: Callable[[HeartbeatAnswer], None],
        *,
        every_s: float,
        api_key: SecretStr | None = None,
        rng: random.Random | None = None,
    ) -> None:
        self._rng = rng or random.SystemRandom()
        self._urls = [f"{url.rstrip('/')}{PATH}" for url in urls]
        self._rng.shuffle(self._urls)
        self._compose = compose
        self._on_answer = on_answer
        self._every_s = every_s
        self._api_key = api_key
        self._loop = asyncio.get_running_loop()
        self._tried = asyncio.Event()
        self._gone = asyncio.Event()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)
        self._loop_thread = threading.get_ident()
        self._loop_seen_at = time.monotonic()
        self._blocked_reported_s = 0.0
        self._unheard = 0
        self._idle_told = False
        """Whether the last answered beat said that there is nothing to do, and none was skipped since."""

    async def start(self, timeout_s: float) -> None:
        """Start beating; wait until the first beat was tried on every orchestrator, at most `timeout_s` seconds."""
        self._thread.start()
        await wait_for(self._tried, timeout_s)

    async def close(self, timeout_s: float = 3.0) -> None:
        """Send the last word and end, within `timeout_s` seconds."""
        self._stop.set()
        if self._thread.is_alive():
            await wait_for(self._gone, timeout_s)

    def _run(self) -> None:
        timeout = httpx.Timeout(TIMEOUT_S, connect=TIMEOUT_S / 2)
        headers = access.headers(self._api_key)
        with httpx.Client(headers=headers, timeout=timeout, trust_env=False, verify=tls_context()) as http:
            while not self._stop.is_set():
                began_at = time.monotonic()
                self._watch_loop(began_at)
                heartbeat = self._compose()
                if self._idle_told and _is_idle(heartbeat):
                    self._idle_told = False
                else:
                    self._beat(http, heartbeat)
                self._in_loop(self._tried.set)
                wait_s = period_s(self._every_s, self._rng.random())
                self._stop.wait(max(began_at + wait_s - time.monotonic(), 0.05))
            self._beat(http, self._compose().model_copy(update={"stopping": True, "stopped": True}))
        self._in_loop(self._gone.set)

    def _beat(self, http: httpx.Client, heartbeat: Heartbeat) -> None:
        """Tell one orchestrator, the one that heard us last if it still does."""
        body = heartbeat.model_dump_json(by_alias=True)
        errors: list[str] = []
        for _ in range(len(self._urls)):
            url, refusal = self._urls[0], ""
            try:
                response = http.post(url, content=body)
                refusal = access.refusal(response.status_code, self._api_key)
                response.raise_for_status()
                answer = HeartbeatAnswer.model_validate_json(response.content)
            except (httpx.HTTPError, ValidationError) as exc:
                errors.append(f"{refusal}{url}: {type(exc).__name__} {exc}")
                self._urls.append(self._urls.pop(0))
                continue
            if self._unheard:
                log.info("orchestrator_found", url=url, unheard_beats=self._unheard)
                self._unheard = 0
            self._idle_told = _is_idle(heartbeat)
            self._in_loop(self._on_answer, answer)
            return
        self._unheard += 1
        if self._unheard & (self._unheard - 1) == 0:  # the 1st, 2nd, 4th, 8th … in a row
            log.warning("no_orchestrator", unheard_beats=self._unheard, errors=errors)

    def _watch_loop(self, now: float) -> None:
        """Ask the loop to come round; when it has not for long, say once per doubling where it stands."""
        blocked_s = now - self._loop_seen_at
        if blocked_s < BLOCKED_S:
            self._blocked_reported_s = 0.0
        elif blocked_s >= 2 * self._blocked_reported_s:
            self._blocked_reported_s = blocked_s
            frame = sys._current_frames().get(self._loop_thread)  # the documented way to see a thread
            where = "".join(traceback.format_stack(frame)[-3:]) if frame is not None else ""
            log.error("event_loop_blocked", blocked_s=round(blocked_s, 1), where=where)
        self._in_loop(self._seen)

    def _seen(self) -> None:
        self._loop_seen_at = time.monotonic()

    def _in_loop(self, callback: Callable[..., object], *args: object) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(callback, *args)


def _is_idle(heartbeat: Heartbeat) -> bool:
    return heartbeat.current_load == 0 and not heartbeat.stopping


def period_s(every_s: float, draw: float) -> float:
    """Return the time from one beat to the next, by a draw from [0, 1)."""
    return every_s * (1 - JITTER * draw)
