"""`distriqueue.webhook`: tell a receiver what has happened, signed by Standard Webhooks. Made by DistriQueue itself.

Payload: `{"url", "id", "body": {"type", "timestamp", "data"}}`. Result: `{"status", "durationMs", "answer"}`, with the
answer's first 1 KiB. The id is the same over retries and replays; each attempt has its own timestamp and signatures.

| the receiver | becomes of the job |
|---|---|
| 2xx | completed |
| 3xx | `webhook_redirected`, not tried again: the callback's URL has to be changed |
| 410 | `webhook_gone`, not tried again |
| any other answer, or none | `webhook_failed`: tried again, after `Retry-After` if it says so (5 s to 4 h) |
| at an address that is not public or allowed | `webhook_refused`, not tried again |

A 4xx is tried again too, as Standard Webhooks has it: while a receiver is deployed it may well answer 404 or 401.
Without a secret nothing is sent: `webhook_not_configured`.
"""

import random
import time
from collections.abc import Callable
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field
from pydantic_core import to_json

from distriqueue import __version__
from distriqueue.settings import WebhookSettings
from distriqueue.telemetry.tracing import HEADER, current
from workers.handlers.registry import Registry
from workers.runtime.retry_after import retry_after_s
from workers.runtime.tls import tls_context
from workers.webhooks.addresses import Allowed
from workers.webhooks.delivery import Delivery, Reply
from workers.webhooks.errors import WebhookFailed, WebhookGone, WebhookNotConfigured, WebhookRedirected
from workers.webhooks.signing import Signer

TYPE: Final = "distriqueue.webhook"
LEAST_RETRY_AFTER_S: Final = 5.0
"""The least of the policy's own backoff: a receiver that says "in a second" must not use up all retries at once."""
MAX_RETRY_AFTER_S: Final = 4 * 3600.0
SHOWN_CHARS: Final = 300
"""What an error shows of the answer: short enough for its quotes to be whole where errors are grouped."""


class Webhook(BaseModel):
    """What the job carries; a newer DistriQueue may add fields."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    url: Annotated[str, Field(max_length=4_000)]
    id: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,200}$")]
    """No dot: it would blur what is signed."""
    body: dict[str, Any]


class WebhookSender:
    """The handler, with what it signs by and sends with."""

    def __init__(
        self,
        signer: Signer,
        delivery: Delivery,
        *,
        clock: Callable[[], float] = time.time,
        rng: random.Random | None = None,
    ) -> None:
        self._signer = signer
        self._delivery = delivery
        self._clock = clock
        self._rng = rng or random.SystemRandom()

    async def send(self, payload: Webhook) -> dict[str, Any]:
        """Send once and return the log of the delivery; raises one of `workers.webhooks.errors`."""
        if not self._signer.ready:
            raise WebhookNotConfigured(
                "this worker has no DISTRIQUEUE_WEBHOOK_SECRETS to sign with: set it, and replay"
            )
        body = to_json(payload.body, inf_nan_mode="null")
        headers = {
            "user-agent": f"DistriQueue/{__version__}",
            "content-type": "application/json",
            **self._signer.headers(payload.id, int(self._clock()), body),
        }
        if (trace := current()) is not None:
            headers[HEADER] = trace
        reply = await self._delivery.post(payload.url, headers, body)
        if 200 <= reply.status < 300:
            return {"status": reply.status, "durationMs": reply.duration_ms, "answer": reply.text}
        said = _said(reply)
        if 300 <= reply.status < 400:
            raise WebhookRedirected(f"{said}; redirects are not followed, change the callback's URL")
        if reply.status == 410:
            raise WebhookGone(said)
        raise WebhookFailed(said, delay_s=self._delay_s(reply))

    def _delay_s(self, reply: Reply) -> float | None:
        wait_s = retry_after_s(reply.retry_after, most_s=MAX_RETRY_AFTER_S)
        return max(wait_s, LEAST_RETRY_AFTER_S) * (1 + self._rng.random() / 4) if wait_s else None


def registry(settings: WebhookSettings) -> Registry:
    """Return a registry with `distriqueue.webhook`, which signs and sends as the settings say."""
    delivery = Delivery(Allowed.of(settings.webhook_allow), tls=tls_context())
    handlers = Registry()
    handlers.handler(TYPE)(WebhookSender(Signer(settings.webhook_secrets), delivery).send)
    return handlers


def _said(reply: Reply) -> str:
    text = " ".join(reply.text.split()).replace('"', "'")[:SHOWN_CHARS]
    return f"the receiver answered {reply.status} after {reply.duration_ms} ms" + (f': "{text}"' if text else "")
