"""Deliveries: what was sent to a job's or batch's `callbackUrl`, and sending it again."""

from datetime import datetime
from typing import Annotated, Any, Final
from uuid import UUID

from fastapi import APIRouter, Path
from pydantic_core import from_json
from starlette.requests import Request
from starlette.responses import Response

from distriqueue.core.states import Status
from distriqueue.store.webhooks import Delivery
from gateway.api import views
from gateway.api.access import audit
from gateway.api.batches import BatchIdOf
from gateway.api.jobs import NOT_FOUND, JobIdOf, PartsOf
from gateway.api.problems import Problem
from gateway.api.submit import JSON

router: Final = APIRouter(tags=["webhooks"])

WebhookIdOf = Annotated[UUID, Path(alias="webhookId")]


class DeliveryLinks(views.View):
    """Where to go on from a delivery: it is a job as any other."""

    job: str
    attempts: str
    replay: str


class DeliveryView(views.View):
    """A webhook and how far it is."""

    id: UUID
    message_id: str
    """The header `webhook-id`: the same over all its tries and replays."""
    url: str
    event: str
    status: Status
    attempt: int
    max_retries: int
    created_at: datetime
    next_attempt_at: datetime | None
    delivered_at: datetime | None
    answer: dict[str, Any] | None
    """What the receiver said: status, time and the start of its text."""
    error: views.ErrorView | None
    """Of the newest attempt; the receiver's status is in its message."""
    attempts: list[views.AttemptView]
    """The newest 20, oldest first, without tracebacks."""
    links: DeliveryLinks


@router.get(
    "/jobs/{jobId:uuid}/webhooks",
    summary="A job's webhooks",
    response_model=list[DeliveryView],
    responses=NOT_FOUND,
)
async def job_webhooks(job_id: JobIdOf, parts: PartsOf) -> Response:
    """Return what was sent to the job's `callbackUrl`, the newest first, at most 100."""
    await parts.reader.get(job_id)
    return _json([_view(delivery) for delivery in await parts.webhooks.of_job(job_id)])


@router.get(
    "/batches/{batchId:uuid}/webhooks",
    summary="A batch's webhooks",
    response_model=list[DeliveryView],
    responses={404: {"model": Problem, "description": "No such batch"}},
)
async def batch_webhooks(batch_id: BatchIdOf, parts: PartsOf) -> Response:
    """Return what was sent to the batch's `callbackUrl`, the newest first, at most 100."""
    await parts.batches.get(batch_id)
    return _json([_view(delivery) for delivery in await parts.webhooks.of_batch(batch_id)])


@router.post(
    "/webhooks/{webhookId:uuid}/replay",
    status_code=202,
    summary="Send a webhook again",
    response_model=DeliveryView,
    responses={404: {"model": Problem, "description": "No such webhook"}},
)
async def replay_webhook(webhook_id: WebhookIdOf, parts: PartsOf, request: Request) -> Response:
    """Send the same message once more, delivered or not; its receiver knows it by the same `webhook-id`."""
    await audit(request, "webhook.replay", str(webhook_id))
    delivery, ready = await parts.webhooks.replay(webhook_id)
    parts.publisher.offer(ready)
    return _json(_view(delivery), status=202)


def _view(delivery: Delivery) -> dict[str, Any]:
    payload = from_json(delivery.payload)
    return {
        "id": delivery.id,
        "messageId": payload["id"],
        "url": payload["url"],
        "event": payload["body"]["type"],
        "status": delivery.status,
        "attempt": delivery.attempt,
        "maxRetries": delivery.max_retries,
        "createdAt": delivery.created_at,
        "nextAttemptAt": delivery.due_at if delivery.status == "retrying" else None,
        "deliveredAt": delivery.finished_at if delivery.status == "completed" else None,
        "answer": views.raw(delivery.result),
        "error": views.raw(delivery.error),
        "attempts": [views.attempt_view(attempt) for attempt in delivery.attempts],
        "links": {
            "job": f"/api/jobs/{delivery.id}",
            "attempts": f"/api/jobs/{delivery.id}/attempts",
            "replay": f"/api/webhooks/{delivery.id}/replay",
        },
    }


def _json(answer: object, *, status: int = 200) -> Response:
    return Response(views.dumps(answer), status, media_type=JSON)
