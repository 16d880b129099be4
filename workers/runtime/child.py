"""The child process: runs one attempt after the other, and dies with its parent.

Started as `python -m workers.runtime.child <socket fd> <parent pid>`. It ends when the socket closes, when
Linux tells it that its parent is gone (PR_SET_PDEATHSIG, for a handler that never lets a thread run), and when the
parent kills its process group, which takes along what the handler started.
"""

import asyncio
import ctypes
import inspect
import os
import queue
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, Final

import orjson

from distriqueue.core.errors import BadSetting
from distriqueue.core.handler import handlers_of
from distriqueue.core.messages import Dispatch
from distriqueue.settings import LogSettings
from distriqueue.telemetry import configure_logging
from workers.handlers.registry import Handler, describe, load_attribute
from workers.runtime.calls import call_async, call_sync
from workers.runtime.context import AttemptContext
from workers.runtime.frames import LENGTHS, end_frame, frame, news_frame
from workers.runtime.joblog import Line
from workers.runtime.outcome import Outcome, failure

PR_SET_PDEATHSIG: Final = 1
PROGRESS_EVERY_S: Final = 0.05


class Parent:
    """The other end of the socket."""

    def __init__(self, link: socket.socket) -> None:
        self._link = link
        self._jobs: queue.SimpleQueue[tuple[dict[str, Any], bytes]] = queue.SimpleQueue()
        self._told_at = 0.0
        self._telling = threading.Lock()
        threading.Thread(target=self._read, name="parent", daemon=True).start()

    def next_job(self) -> tuple[dict[str, Any], bytes]:
        """Wait for the next attempt; the process ends when the parent goes instead."""
        return self._jobs.get()

    def tell(self, data: bytes) -> None:
        """Send a frame, whole, from any thread."""
        with self._telling:
            self._link.sendall(data)

    def tell_progress(self, percent: float, message: str | None) -> None:
        """Send the progress, unless one went out a moment ago."""
        now = time.monotonic()
        if now - self._told_at >= PROGRESS_EVERY_S:
            self._told_at = now
            text = message.encode(errors="replace").decode() if message is not None else None
            self.tell(frame("progress", percent=percent, message=text))

    def _read(self) -> None:
        with self._link.makefile("rb") as stream:
            while len(lengths := stream.read(LENGTHS.size)) == LENGTHS.size:
                header_bytes, body_bytes = LENGTHS.unpack(lengths)
                header, body = stream.read(header_bytes), stream.read(body_bytes)
                if len(body) < body_bytes:
                    break
                self._jobs.put((orjson.loads(header), body))
        os.killpg(0, signal.SIGKILL)  # us and all we started, whatever the handler is doing: nobody wants it any more


def main() -> None:
    """Serve the parent until it goes."""
    link = socket.socket(fileno=int(sys.argv[1]))
    link.set_inheritable(False)
    _die_with(int(sys.argv[2]))
    configure_logging(LogSettings.load(), service="worker")
    parent = Parent(link)
    parent.tell(frame("ready"))
    while True:
        header, body = parent.next_job()
        parent.tell(end_frame(_run(parent, header, body)))


def _run(parent: Parent, header: dict[str, Any], body: bytes) -> Outcome:
    dispatch = Dispatch.decode(body)
    sys.path[:] = header["path"]
    try:
        handler = _handler(dispatch.type, load_attribute(header["reference"]))
    except (BadSetting, TypeError, ValueError) as exc:
        return failure("handler_not_found", f"the child process cannot load {header['reference']}: {exc}")
    deadline = time.monotonic() + header["timeout_s"]
    context = AttemptContext(
        dispatch.job_id,
        dispatch.attempt,
        dispatch.type,
        deadline=deadline,
        sink=parent.tell_progress,
        parents=header["parents"],
        resume=header["resume"],
        on_news=lambda: _tell_news(parent, context.news()),
    )
    given = dict.fromkeys(handler.needs, context)  # in a child there is nothing else to be given
    parent.tell(frame("begun"))
    if inspect.iscoroutinefunction(handler.function):
        outcome = asyncio.run(call_async(handler, dispatch, context, given))
    else:
        outcome = call_sync(handler, dispatch, context, given)
    _tell_news(parent, context.last_news())
    return outcome


def _handler(type_: str, function: Callable[..., Any]) -> Handler:
    """Return the handler as it was registered in the parent, if the function carries it."""
    handler = handlers_of(function).get(type_)
    return handler if isinstance(handler, Handler) else describe(type_, function, kind="process")


def _tell_news(parent: Parent, news: tuple[list[Line], bytes | None]) -> None:
    lines, checkpoint = news
    if lines or checkpoint is not None:
        parent.tell(news_frame(lines, checkpoint))


def _die_with(parent_pid: int) -> None:
    os.setsid()  # a group of our own: killed as one, and out of reach of the terminal's Ctrl-C
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent_pid:
        os._exit(0)


if __name__ == "__main__":
    main()
