"""Signatures by Standard Webhooks 1.0: `v1,` and the Base64 of HMAC-SHA256 over `id.timestamp.body`."""

import base64
import hmac
from collections.abc import Sequence

from pydantic import SecretStr

from distriqueue.settings import WHSEC


class Signer:
    """Signs with every current secret, so that receivers may change theirs at any moment of a rotation."""

    def __init__(self, secrets: Sequence[SecretStr]) -> None:
        self._keys = [base64.b64decode(secret.get_secret_value().removeprefix(WHSEC)) for secret in secrets]

    @property
    def ready(self) -> bool:
        """Whether there is a secret at all."""
        return bool(self._keys)

    def headers(self, webhook_id: str, timestamp_s: int, body: bytes) -> dict[str, str]:
        """Return the three headers of one attempt; the newest secret's signature comes first."""
        signed = b"%b.%d.%b" % (webhook_id.encode(), timestamp_s, body)
        signatures = [base64.b64encode(hmac.digest(key, signed, "sha256")).decode() for key in self._keys]
        return {
            "webhook-id": webhook_id,
            "webhook-timestamp": str(timestamp_s),
            "webhook-signature": " ".join(f"v1,{signature}" for signature in signatures),
        }
