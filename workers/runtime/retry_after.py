"""`Retry-After`: how long another server wants us to wait."""

import math
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime


def retry_after_s(header: str | None, *, most_s: float) -> float:
    """Read either form of RFC 9110 §10.2.3, in seconds up to `most_s`; 0 when absent or unreadable."""
    if not header:
        return 0.0
    try:
        wait_s = float(header)
    except ValueError:
        try:
            wait_s = (parsedate_to_datetime(header) - datetime.now(UTC)).total_seconds()
        except (ValueError, TypeError):
            return 0.0
    return min(max(wait_s, 0.0), most_s) if math.isfinite(wait_s) else 0.0
