"""The orchestrator's routes, base `/api`, and Prometheus' at `/metrics`."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, FastAPI, Query, Response
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request

from distriqueue.access.trail import audit, caller_of
from distriqueue.core.access import Scope
from orchestrator import metrics, problems
from orchestrator.cluster.leadership import Figures
from orchestrator.duties.supervisor import Report
from orchestrator.parts import Parts


class StepDown(BaseModel):
    """An order to hand over; a body of JSON, so that no web page's form can give it."""

    model_config = ConfigDict(extra="forbid")

    to: Annotated[str, Field(min_length=1, max_length=100)] | None = None
    """The next leader; the freshest node that reaches Postgres if not given."""


def build(parts: Parts) -> FastAPI:
    """Return the app; heartbeats are answered in front of it, by `heartbeats.HeartbeatsFirst`."""
    app = FastAPI(title="DistriQueue orchestrator", openapi_url=None)
    problems.install(app)
    router = APIRouter(prefix="/api")

    @router.get("/health")
    async def health(request: Request) -> Response:
        """Say whether this node can record heartbeats; without a broker or the lead it still is of use.

        Whoever may not `read` gets the status alone.
        """
        up = parts.registry.is_recording
        if not caller_of(request).may(Scope.READ):
            return _json({"status": _up(up)}, status=200 if up else 503)
        epoch = parts.leadership.epoch()
        components = {
            "database": {"status": _up(up), "details": {"recordedSecondsAgo": _recorded_ago(parts)}},
            "broker": {"status": _up(parts.broker.connected)},
            "leadership": {"status": _up(parts.leadership.status().leader is not None), "details": {"epoch": epoch}},
        }
        return _json({"status": _up(up), "components": components}, status=200 if up else 503)

    @router.get("/cluster/status")
    async def cluster_status() -> Response:
        """Say who leads, as far as this node knows, and how its duties fare."""
        status = parts.leadership.status()
        return _json(
            {
                "node": status.node,
                "role": status.role,
                "term": status.term,
                "epoch": status.epoch,
                "leader": status.leader,
                "established": status.established,
                "peers": [{"node": peer.node, "lastContactSeconds": peer.last_contact_s} for peer in status.peers],
                "duties": _duties(parts),
            }
        )

    @router.post("/cluster/step-down")
    async def step_down(order: StepDown, request: Request) -> Response:
        """Hand leadership over, and answer once another node leads; 409 on a node that does not lead."""
        former = parts.leadership.status().node
        await audit(request, "cluster.step_down", former, to=order.to)
        return _json({"node": former, "leader": await parts.leadership.step_down(order.to)})

    @router.get("/raft/status")
    async def raft_status() -> Response:
        """Return the election's inner state, for whoever looks into a cluster that does not settle."""
        status, counted = parts.leadership.status(), parts.leadership.figures()
        return _json(
            {
                "node": status.node,
                "role": status.role,
                "term": status.term,
                "leader": status.leader,
                **counted.details,
                "peers": [
                    {
                        "node": peer.node,
                        "url": peer.url,
                        "lastContactSeconds": peer.last_contact_s,
                        "reachesStore": peer.reaches_store,
                    }
                    for peer in status.peers
                ],
                **_counts(counted),
            }
        )

    @router.get("/metrics")
    async def figures() -> Response:
        """Return the node's figures as JSON."""
        counts = await parts.workers.count()
        status = parts.leadership.status()
        return _json(
            {
                "node": status.node,
                "term": status.term,
                "epoch": parts.leadership.epoch(),
                "isLeader": status.role == "leader",
                **_counts(parts.leadership.figures()),
                "peerSilenceSeconds": {peer.node: peer.last_contact_s for peer in status.peers},
                "duties": _duties(parts),
                "heartbeats": {
                    "recording": parts.registry.is_recording,
                    "recordedSecondsAgo": _recorded_ago(parts),
                    "unbrokenSeconds": parts.registry.recording and parts.registry.recording.unbroken_s,
                },
                "workers": {state.value: count for state, count in counts.items()},
            }
        )

    @router.get("/workers")
    async def workers(
        after: Annotated[str, Query(max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")] = "",
        size: Annotated[int, Query(ge=1, le=1000)] = 1000,
    ) -> Response:
        """List the workers by id; `nextCursor`, when there may be more, is the next call's `after`."""
        rows = await parts.workers.page(after=after, limit=size)
        cursor = rows[-1]["id"] if len(rows) == size else None
        return _json({"content": [_worker(row) for row in rows], "size": size, "nextCursor": cursor})

    app.include_router(router)

    @app.get("/metrics")
    async def prometheus() -> Response:
        """Return the node's figures for Prometheus."""
        return Response(parts.metrics.expose(), media_type=metrics.CONTENT_TYPE)

    return app


def _counts(counted: Figures) -> dict[str, Any]:
    return {
        "elections": counted.elections,
        "electionsWon": counted.wins,
        "fencedCommits": counted.fenced,
        "requestsRefused": dict(counted.refused),
    }


def _duties(parts: Parts) -> dict[str, Any]:
    return {name: _report(report) for name, report in parts.supervisor.reports.items()}


def _report(report: Report) -> dict[str, Any]:
    return {
        "runs": report.runs,
        "count": report.done,
        "failures": report.failures,
        "lastRunAt": _time(report.last_run_at),
        "lastDurationSeconds": report.last_duration_s,
        "lastCount": report.last_done,
        "lastError": report.last_error,
        "lastErrorAt": _time(report.last_error_at),
        "note": report.note,
    }


def _worker(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "workerId": row["id"],
        "workerType": row["type"],
        "state": row["state"],
        "capacity": row["capacity"],
        "currentLoad": row["load"],
        "runningJobs": row["running"],
        "types": row["types"],
        "version": row["version"],
        "memoryBytes": row["memory_bytes"],
        "drainRequested": row["drain_requested"],
        "firstSeen": _time(row["first_seen"]),
        "lastSeen": _time(row["last_seen"]),
    }


def _recorded_ago(parts: Parts) -> float | None:
    return round(parts.registry.recorded_ago_s, 3) if parts.registry.recording else None


def _time(at: datetime | None) -> str | None:
    return at.isoformat().replace("+00:00", "Z") if at else None


def _up(is_up: bool) -> str:
    return "UP" if is_up else "DOWN"


def _json(content: Mapping[str, Any], *, status: int = 200) -> Response:
    return Response(orjson.dumps(content), status, media_type="application/json")
