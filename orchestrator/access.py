"""Which scope each call of an orchestrator takes. A call that is not here takes `admin`; a test knows all routes."""

from typing import Final

from distriqueue.access.rules import PUBLIC, Rules
from distriqueue.core.access import Scope

RULES: Final = Rules(
    {
        PUBLIC: ("GET /api/health",),
        Scope.READ: (
            "GET /api/cluster/status",
            "GET /api/raft/status",
            "GET /api/metrics",
            "GET /api/workers",
            "GET /metrics",
        ),
        Scope.WORKER: ("POST /api/workers/heartbeat",),
        Scope.OPERATE: ("POST /api/cluster/step-down",),
    }
)
