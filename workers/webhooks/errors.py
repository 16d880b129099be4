"""How a delivery fails; the codes are what the job's error has as its type. Messages name hosts, never whole URLs."""

from distriqueue.core.errors import Discard, Retry


class WebhookFailed(Retry):
    """No delivery this time: no connection, no answer in time, or an answer that is no 2xx. Tried again."""

    code = "webhook_failed"


class WebhookRefused(Discard):
    """We do not send there: no public address, or no address of a kind that we send to."""

    code = "webhook_refused"


class WebhookRedirected(Discard):
    """The receiver points elsewhere; that would have to be checked anew, and wants its URL changed anyway."""

    code = "webhook_redirected"


class WebhookGone(Discard):
    """The receiver answers 410: it wants no more of it."""

    code = "webhook_gone"


class WebhookNotConfigured(Discard):
    """There is no secret to sign with, and unsigned webhooks are never sent."""

    code = "webhook_not_configured"
