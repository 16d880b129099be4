"""An API of somebody else's, with a limit: more than so many calls within a second are refused with 429."""

import threading
import time
from collections import deque
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class LimitedApi(ThreadingHTTPServer):
    """Answers GET by a number; counts what it took and what it refused."""

    daemon_threads = True

    def __init__(self, *, calls_per_s: int) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self._calls_per_s = calls_per_s
        self._lock = threading.Lock()
        self._lately: deque[float] = deque()
        self.taken = 0
        self.refused = 0

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.server_port}/"

    def enter(self) -> bool:
        """Tell whether a call is within the limit: those of the last second count, not those that were refused."""
        now = time.monotonic()
        with self._lock:
            while self._lately and now - self._lately[0] >= 1.0:
                self._lately.popleft()
            if len(self._lately) >= self._calls_per_s:
                self.refused += 1
                return False
            self._lately.append(now)
            self.taken += 1
            return True


class _Handler(BaseHTTPRequestHandler):
    server: LimitedApi
    timeout = 10

    def do_GET(self) -> None:
        is_in = self.server.enter()
        self.send_response(200 if is_in else 429)
        if not is_in:
            self.send_header("retry-after", "1")
        self.send_header("content-length", "2")
        self.end_headers()
        self.wfile.write(b"42")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 -- as the library names it
        """Say nothing."""
