"""The worker's API key: how it is shown, and what it means when a server will not have it."""

from typing import Final

from pydantic import SecretStr

UNAUTHORIZED: Final = 401
FORBIDDEN: Final = 403


def headers(api_key: SecretStr | None) -> dict[str, str]:
    """Return the headers of every request to a gateway or an orchestrator."""
    sent = {"content-type": "application/json"}
    if api_key is not None:
        sent["authorization"] = f"Bearer {api_key.get_secret_value()}"
    return sent


def refusal(status: int, api_key: SecretStr | None) -> str:
    """Say by the answer's status what is wrong with the key, never the key itself; nothing if it is not about that."""
    if status not in (UNAUTHORIZED, FORBIDDEN):
        return ""
    if api_key is None:
        return "DISTRIQUEUE_API_KEY is missing: "
    if status == FORBIDDEN:
        return "DISTRIQUEUE_API_KEY is refused, it lacks the scope `worker`: "
    return "DISTRIQUEUE_API_KEY is refused, it is unknown or revoked: "
