"""Where a client finds its gateway, and by which key it is known there: `DISTRIQUEUE_URL`, `DISTRIQUEUE_API_KEY`."""

import re
from typing import Final
from urllib.parse import urlsplit

from pydantic import Field, field_validator

from distriqueue.settings import AccessSettings

DEFAULT_URL: Final = "http://127.0.0.1:8080"
_SCHEMES: Final = ("http", "https")


class ClientSettings(AccessSettings):
    """How a client reaches a gateway."""

    url: str = Field(default=DEFAULT_URL, description="Gateway that clients and the command line call.")

    @field_validator("url")
    @classmethod
    def _callable(cls, value: str) -> str:
        parts = urlsplit(value)
        if parts.scheme not in _SCHEMES or not parts.hostname or re.search(r"[\s?#]", value):
            raise ValueError(f"must be an address such as {DEFAULT_URL}, not {value!r}")
        if parts.username or parts.password:
            raise ValueError("must be without user name and password: give the key by DISTRIQUEUE_API_KEY")
        _ = parts.port  # ValueError when it is none
        return value.rstrip("/")
