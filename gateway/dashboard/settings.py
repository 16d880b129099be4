"""Where the dashboard asks about the cluster."""

from pydantic import Field, field_validator

from distriqueue.settings import AccessSettings, Urls


class ClusterSettings(AccessSettings):
    """The orchestrators, by the same settings as workers'."""

    orchestrator_urls: Urls = Field(
        default=("http://127.0.0.1:8081",), description="Orchestrators to ask, separated by commas."
    )

    @field_validator("orchestrator_urls", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(part.strip().rstrip("/") for part in value.split(",") if part.strip())
        return value
