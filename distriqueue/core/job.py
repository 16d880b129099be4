"""What a job is: its id, its lane and the bounds of its fields."""

import os
import time
from enum import StrEnum
from typing import Final, NewType
from uuid import UUID

JobId = NewType("JobId", UUID)
WorkerId = NewType("WorkerId", str)

MAX_RETRIES_BOUND: Final = 100
DEFAULT_MAX_RETRIES: Final = 3
DEFAULT_EXECUTION_TIMEOUT_S: Final = 300.0
MAX_EXECUTION_TIMEOUT_S: Final = 7 * 24 * 3600.0
MAX_LOSSES: Final = 3
"""How many times an attempt may be lost with its worker before the job fails."""


class Priority(StrEnum):
    """The four lanes, most urgent first; the value is the wire's and the store's spelling."""

    CRITICAL = "CRITICAL"
    HIGH = "HIGH"
    MEDIUM = "MEDIUM"
    LOW = "LOW"

    @property
    def queue(self) -> str:
        """The broker's queue of this lane."""
        return f"job.{self.value.lower()}"

    @classmethod
    def parse(cls, text: str) -> "Priority":
        """Read a priority in any case; ValueError names what is allowed."""
        try:
            return cls(text.upper())
        except ValueError:
            raise ValueError(f"priority must be one of {', '.join(cls)}, not {text!r}") from None


def new_job_id() -> JobId:
    """Return a UUIDv7 (RFC 9562 §5.7, §6.2 method 3): Unix time to a quarter of a microsecond, then 62 random bits.

    So ids sort by creation, also those of one batch, which are made microseconds apart.
    """
    unix_ms, ns = divmod(time.time_ns(), 1_000_000)
    value = (unix_ms & 0xFFFF_FFFF_FFFF) << 80
    value |= 0x7 << 76 | (ns * 4096 // 1_000_000) << 64
    value |= 0b10 << 62 | int.from_bytes(os.urandom(8)) & 0x3FFF_FFFF_FFFF_FFFF
    return JobId(UUID(int=value))
