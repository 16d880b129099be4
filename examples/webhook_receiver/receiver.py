"""A receiver of webhooks in the standard library: what Standard Webhooks 1.0 asks of it.

python receiver.py --secret whsec_… --port 9000
"""

import argparse
import base64
import hmac
import json
import threading
import time
from collections import OrderedDict
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

TOLERANCE_S: Final = 300
MAX_BODY_BYTES: Final = 1_048_576
REMEMBERED: Final = 100_000
"""Webhooks that a second delivery is told by. A real receiver keeps them for some days, where its effects are kept."""


class NotOurs(ValueError):
    """The request does not come from who has the secret, or is too old."""


def verify(secret: str, headers: Mapping[str, str], body: bytes, *, now_s: float) -> str:
    """Return the webhook's id; NotOurs says what is wrong. The body is as it came, not parsed and written again."""
    webhook_id = headers.get("webhook-id", "")
    timestamp = headers.get("webhook-timestamp", "")
    if not timestamp.isdigit() or abs(now_s - int(timestamp)) > TOLERANCE_S:
        raise NotOurs("its time is missing, or more than five minutes away")
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signed = b"%b.%b.%b" % (webhook_id.encode(), timestamp.encode(), body)
    expected = b"v1," + base64.b64encode(hmac.digest(key, signed, "sha256"))
    # Several, separated by blanks, while a secret is being changed: one that matches is enough.
    given = headers.get("webhook-signature", "").encode().split(b" ")
    if not any(hmac.compare_digest(expected, each) for each in given):
        raise NotOurs("no signature matches")
    return webhook_id


class Receiver(ThreadingHTTPServer):
    """Takes webhooks at any path, each once; `refusing` answers 503 in its place, as a receiver that is down."""

    daemon_threads = True

    def __init__(self, address: tuple[str, int], secret: str) -> None:
        super().__init__(address, _Handler)
        self._secret = secret
        self._lock = threading.Lock()
        self._seen: OrderedDict[str, None] = OrderedDict()
        self.refusing = 0
        self.taken: list[dict[str, Any]] = []
        """The events, in the order in which they came."""
        self.doubles = 0
        self.forged = 0
        self.changed = threading.Condition()

    def take(self, headers: Mapping[str, str], body: bytes) -> tuple[int, str]:
        """Return the answer's status and text. Real work belongs behind the answer, not before it."""
        try:
            webhook_id = verify(self._secret, headers, body, now_s=time.time())
        except NotOurs as exc:
            self.forged += 1
            return 401, str(exc)
        with self._lock:
            if self.refusing:
                self.refusing -= 1
                return 503, "come again"
            if webhook_id in self._seen:
                self.doubles += 1
                return 200, "known"
            self._seen[webhook_id] = None
            if len(self._seen) > REMEMBERED:
                self._seen.popitem(last=False)
            self.taken.append(json.loads(body))
        return 200, "taken"


class _Handler(BaseHTTPRequestHandler):
    server: Receiver
    protocol_version = "HTTP/1.1"
    timeout = 10

    def do_POST(self) -> None:
        length = self.headers.get("content-length", "")
        if not length.isdigit() or int(length) > MAX_BODY_BYTES:
            self.close_connection = True
            status, text = 413, "too large"
        else:
            body = self.rfile.read(int(length))
            status, text = self.server.take({name.lower(): value for name, value in self.headers.items()}, body)
            kind = json.loads(body)["type"] if status == 200 else "?"
            print(f"  POST {self.path}: {kind} {self.headers.get('webhook-id', '?')} → {status} {text}", flush=True)
        answer = text.encode()
        self.send_response(status)
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)
        with self.server.changed:
            self.server.changed.notify_all()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 -- as the library names it
        """Say nothing: `do_POST` does."""


def main() -> None:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--secret", required=True, help="whsec_…, as on the workers")
    parser.add_argument("--port", type=int, default=9000)
    arguments = parser.parse_args()
    with Receiver(("127.0.0.1", arguments.port), arguments.secret) as receiver:
        receiver.serve_forever()


if __name__ == "__main__":
    main()
