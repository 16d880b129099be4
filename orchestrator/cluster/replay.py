"""Each request counts once: what was recorded on the network and is sent again is refused.

Clocks are no help, as an hour's error on one node must do no harm. So a request is bound to this process by its
session, a random name that a sender learns from the first refusal; within the session, each life of a sender numbers
its requests, and a window remembers which numbers were seen. What was recorded before this process started names
another session; what was recorded since is remembered.
"""

import secrets
from enum import StrEnum
from typing import Final

WINDOW: Final = 1024
MAX_LIVES: Final = 1024
"""Lives of senders remembered; with more, a new session begins, and nothing of the old one is ever taken."""


class Verdict(StrEnum):
    """Whether a request may be acted on."""

    FRESH = "fresh"
    REPLAYED = "replayed"
    OTHER_SESSION = "other_session"


class ReplayGuard:
    """What this process has seen in its present session."""

    def __init__(self) -> None:
        self.session = secrets.token_hex(8)
        self._windows: dict[tuple[str, str], _Window] = {}

    def judge(self, *, sender: str, boot: str, session: str, number: int) -> Verdict:
        """Take note of an authenticated request, and say whether it is the first of its kind."""
        if session != self.session:
            return Verdict.OTHER_SESSION
        window = self._windows.get((sender, boot))
        if window is None:
            if len(self._windows) >= MAX_LIVES:
                self.session = secrets.token_hex(8)
                self._windows.clear()
                return Verdict.OTHER_SESSION
            window = self._windows[sender, boot] = _Window()
        return Verdict.FRESH if window.admit(number) else Verdict.REPLAYED


class _Window:
    """The highest number seen, and which of those just below: requests may overtake each other a little."""

    __slots__ = ("_highest", "_seen")

    def __init__(self) -> None:
        self._highest = -1
        self._seen = 0

    def admit(self, number: int) -> bool:
        if number > self._highest:
            shift = number - self._highest
            self._seen = ((self._seen << shift) | 1) & ((1 << WINDOW) - 1) if shift < WINDOW else 1
            self._highest = number
            return True
        bit = 1 << (self._highest - number) if self._highest - number < WINDOW else 0
        if not bit or self._seen & bit:
            return False
        self._seen |= bit
        return True
