"""A token bucket: so many a second on average, and no more than a second's worth at once."""


class Bucket:
    """Full at the start. Every call says what time it is, in seconds of a clock that never goes back."""

    __slots__ = ("_at_s", "_burst", "_tokens", "per_s")

    def __init__(self, per_s: float, *, now_s: float) -> None:
        self.per_s = per_s
        self._burst = max(per_s, 1.0)
        self._tokens = self._burst
        self._at_s = now_s

    def take(self, now_s: float) -> float:
        """Take one and return 0; or take none, and return in how many seconds there will be one."""
        self._tokens = min(self._burst, self._tokens + (now_s - self._at_s) * self.per_s)
        self._at_s = now_s
        if self._tokens < 1.0:
            return (1.0 - self._tokens) / self.per_s
        self._tokens -= 1.0
        return 0.0
