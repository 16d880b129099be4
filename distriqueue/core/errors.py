"""The one tree of errors.

    DistriQueueError            code                   HTTP
    ├── InvalidRequest          invalid_request        422
    │   ├── MalformedJson       malformed_json         400
    │   ├── UnsupportedMedia    unsupported_media      415
    │   └── IdempotencyKeyReused    idempotency_key_reused    422
    ├── Unauthorized            unauthorized           401   answers say `WWW-Authenticate: Bearer`
    ├── Forbidden               forbidden              403
    ├── PayloadTooLarge         payload_too_large      413
    ├── NotFound                not_found              404
    ├── Conflict                conflict               409
    │   └── IdempotencyKeyInFlight  idempotency_key_in_flight
    ├── Overloaded              overloaded             429   retry_after_s
    │   └── RateLimited         rate_limited                 an API key's own rate
    ├── Unavailable             unavailable            503   retry_after_s
    │   ├── StoreUnavailable    store_unavailable
    │   └── BrokerUnavailable   broker_unavailable
    ├── Fenced                  fenced                 409   a newer leader has claimed the epoch
    ├── BadSetting              bad_setting            500   stops the start
    └── HandlerSignal           what a handler raises to steer its own job
        ├── Retry               retry                        delay_s
        └── Discard             discard                      fail now, without retries

Adapters translate driver errors into this tree (`raise … from exc`); one handler in the gateway turns it into
problem+json.
"""

from typing import ClassVar


class DistriQueueError(Exception):
    """Root: a stable `code` for programs, an HTTP status for the gateway, a message for people."""

    code: ClassVar[str] = "internal"
    http_status: ClassVar[int] = 500

    def __init__(self, message: str, *, errors: list[dict[str, object]] | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.errors = errors or []
        """What is wrong field by field: `{"field", "message"}`."""


class InvalidRequest(DistriQueueError):
    """The request is understood and wrong; `errors` names the fields."""

    code = "invalid_request"
    http_status = 422


class MalformedJson(InvalidRequest):
    """The body is not JSON."""

    code = "malformed_json"
    http_status = 400


class UnsupportedMedia(InvalidRequest):
    """The body's content type is not one that this call reads."""

    code = "unsupported_media"
    http_status = 415


class IdempotencyKeyReused(InvalidRequest):
    """The key came before, with another request."""

    code = "idempotency_key_reused"


class Unauthorized(DistriQueueError):
    """No API key, or none that counts."""

    code = "unauthorized"
    http_status = 401


class Forbidden(DistriQueueError):
    """The API key has not the scope that this takes; the message names it."""

    code = "forbidden"
    http_status = 403


class PayloadTooLarge(DistriQueueError):
    """The body is over the configured bound."""

    code = "payload_too_large"
    http_status = 413


class NotFound(DistriQueueError):
    """No such thing."""

    code = "not_found"
    http_status = 404


class Conflict(DistriQueueError):
    """The thing's state does not allow this."""

    code = "conflict"
    http_status = 409


class IdempotencyKeyInFlight(Conflict):
    """The first request with this key has not been answered yet."""

    code = "idempotency_key_in_flight"


class Overloaded(DistriQueueError):
    """A bound of ours is reached: come back after `retry_after_s` seconds."""

    code = "overloaded"
    http_status = 429

    def __init__(self, message: str, *, retry_after_s: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class RateLimited(Overloaded):
    """The API key's rate of requests is used up."""

    code = "rate_limited"


class Unavailable(DistriQueueError):
    """A part that we need does not answer: come back after `retry_after_s` seconds."""

    code = "unavailable"
    http_status = 503

    def __init__(self, message: str, *, retry_after_s: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class StoreUnavailable(Unavailable):
    """Postgres does not answer."""

    code = "store_unavailable"


class BrokerUnavailable(Unavailable):
    """The broker does not answer."""

    code = "broker_unavailable"


class Fenced(DistriQueueError):
    """A newer leader has claimed the epoch: this transaction is rolled back."""

    code = "fenced"
    http_status = 409


class BadSetting(DistriQueueError):
    """A setting is missing or wrong; the message names it."""

    code = "bad_setting"


class HandlerSignal(DistriQueueError):
    """What a handler raises to steer its own job."""

    code = "handler_signal"


class Retry(HandlerSignal):
    """Try again after `delay_s` seconds (the policy's backoff when None); it counts as a failed attempt."""

    code = "retry"

    def __init__(self, message: str = "the handler asked for a retry", *, delay_s: float | None = None) -> None:
        super().__init__(message)
        self.delay_s = delay_s


class Discard(HandlerSignal):
    """Fail now, whatever retries are left."""

    code = "discard"
