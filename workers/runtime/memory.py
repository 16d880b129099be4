"""How much memory a worker takes, for the heartbeats."""

import time
from contextlib import suppress
from typing import Final

import psutil

LOOK_EVERY_S: Final = 5.0
"""Each look reads the table of all processes of the machine, for those that run handlers are children of ours."""


class Memory:
    """Looked at now and then; used by the heartbeat's thread alone."""

    def __init__(self) -> None:
        self._process = psutil.Process()
        self._looked_at = -LOOK_EVERY_S
        self._resident = 0

    def resident(self) -> int:
        """Return the resident bytes of this process and its children, of `LOOK_EVERY_S` seconds ago at most."""
        now = time.monotonic()
        if now - self._looked_at >= LOOK_EVERY_S:
            self._looked_at = now
            self._resident = 0
            for process in (self._process, *self._process.children(recursive=True)):
                with suppress(psutil.NoSuchProcess):
                    self._resident += process.memory_info().rss
        return self._resident
