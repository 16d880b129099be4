"""Which scope each call of the gateway takes. A call that is not here takes `admin`; a test knows all routes."""

from typing import Final

from distriqueue.access.rules import PUBLIC, Rules
from distriqueue.core.access import Scope

RULES: Final = Rules(
    {
        PUBLIC: (
            "GET /health/live",
            "GET /health/ready",
            "GET /actuator/health",
            "GET /api/actuator/health",
        ),
        Scope.READ: (
            "GET /api/jobs",
            "GET /api/jobs/statistics",
            "GET /api/jobs/stream",
            "GET /api/jobs/{}",
            "GET /api/jobs/{}/events",
            "GET /api/jobs/{}/attempts",
            "GET /api/jobs/{}/explain",
            "GET /api/batches/{}",
            "GET /api/schedules",
            "GET /api/schedules/{}",
            "GET /api/queues",
            "GET /api/dead-letters",
            "GET /api/workers",
            "GET /api/workers/{}",
            "GET /api/jobs/{}/webhooks",
            "GET /api/batches/{}/webhooks",
            "GET /api/rate-limits",
            "GET /metrics",
            "GET /actuator/info",
            "GET /actuator/prometheus",
            "GET /api/actuator/info",
            "GET /api/actuator/prometheus",
            "GET /",
            "GET /api-docs",
            "GET /v3/api-docs",
            "GET /api/api-docs",
            "GET /swagger-ui.html",
            "GET /api/swagger-ui.html",
            "GET /static/*",
            "GET /static/vendor/*",
        ),
        Scope.SUBMIT: (
            "POST /api/jobs",
            "POST /api/jobs/batch",
        ),
        Scope.WORKER: ("POST /api/jobs/status",),
        Scope.OPERATE: (
            "POST /api/jobs/{}/cancel",
            "POST /api/jobs/{}/retry",
            "POST /api/jobs/actions",
            "POST /api/schedules",
            "PATCH /api/schedules/{}",
            "DELETE /api/schedules/{}",
            "POST /api/queues/{}/pause",
            "POST /api/queues/{}/resume",
            "POST /api/dead-letters/replay",
            "POST /api/workers/{}/drain",
            "POST /api/webhooks/{}/replay",
            "PUT /api/rate-limits/{}",
            "DELETE /api/rate-limits/{}",
        ),
        Scope.ADMIN: ("GET /api/audit",),
    }
)
