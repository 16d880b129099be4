"""The attempts that this process has run lately, in bounded memory."""

from typing import Final, TypeAlias

from distriqueue.core.job import JobId
from distriqueue.core.messages import Dispatch

AttemptKey: TypeAlias = tuple[JobId, int]
"""A job and its attempt, the fencing token: what a dispatch, a claim and a report are about."""

REMEMBERED: Final = 16_384
"""Some seconds of the shortest jobs; a redelivery comes within a reconnect."""


def key_of(dispatch: Dispatch) -> AttemptKey:
    """Return what the dispatch is about."""
    return dispatch.job_id, dispatch.attempt


class RecentAttempts:
    """Remembers the last `limit` attempts; older ones are forgotten, and only the gateway's refusal is left."""

    def __init__(self, limit: int = REMEMBERED) -> None:
        self._limit = limit
        self._keys: dict[AttemptKey, None] = {}

    def __contains__(self, key: AttemptKey) -> bool:
        return key in self._keys

    def __len__(self) -> int:
        return len(self._keys)

    def add(self, key: AttemptKey) -> None:
        """Remember the attempt, and forget the oldest when there are too many."""
        self._keys[key] = None
        if len(self._keys) > self._limit:
            del self._keys[next(iter(self._keys))]
