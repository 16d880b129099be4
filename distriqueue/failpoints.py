"""Places where a test may stop a process dead: `DISTRIQUEUE_FAILPOINTS=gateway.after_commit,…`. Off unless named.

Each lies between two systems, where a crash must cost nothing; docs/architecture.md says what must then hold.
"""

import os
import signal
from typing import Final

ARMED: Final = frozenset(filter(None, os.environ.get("DISTRIQUEUE_FAILPOINTS", "").split(",")))


def hit(name: str) -> None:
    """End this process as a power cut would, if the failpoint is armed."""
    if name in ARMED:
        os.kill(os.getpid(), signal.SIGKILL)
