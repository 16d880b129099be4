"""Which of a handler's own failures are worth another attempt, and after how long."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Retries:
    """A handler's policy for the exceptions that it raises; `Retry` and `Discard` always mean what they say.

        @registry.handler("fetch", retry=Retries(on=(ConnectionError, TimeoutError), delay_s=5, factor=2))

    An exception that is in `on` and not in `never` is tried again while the job has retries left; any other is the end.
    """

    on: tuple[type[BaseException], ...] = (BaseException,)
    never: tuple[type[BaseException], ...] = ()
    delay_s: float | None = None
    """Seconds before the second attempt; None: what the job's own policy says."""
    factor: float = 1.0
    """Each further attempt waits so many times as long."""
    cap_s: float = 3_600.0
    """And at most so many seconds."""

    def __post_init__(self) -> None:
        for each in (*self.on, *self.never):
            if not (isinstance(each, type) and issubclass(each, BaseException)):
                raise TypeError(f"on and never are tuples of exception classes, not {each!r}")
        if self.delay_s is not None and self.delay_s < 0:
            raise ValueError(f"delay_s must not be below 0, but is {self.delay_s!r}")
        if self.factor < 1 or self.cap_s <= 0:
            raise ValueError("factor must be at least 1, and cap_s above 0")

    def allows(self, exc: BaseException) -> bool:
        """Tell whether another attempt may help."""
        return isinstance(exc, self.on) and not isinstance(exc, self.never)

    def wait_s(self, attempt: int) -> float | None:
        """Return the seconds to wait after this attempt (1 is the first); None: the job's own policy says."""
        if self.delay_s is None:
            return None
        try:
            return min(self.delay_s * self.factor ** (attempt - 1), self.cap_s)
        except OverflowError:
            return self.cap_s
