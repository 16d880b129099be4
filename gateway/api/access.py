"""Who did what: `GET /audit`, and `audit`, by which a route notes what it is about to do."""

from datetime import datetime
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from distriqueue.access.trail import audit
from distriqueue.store.access import StoredEntry
from gateway.api import views
from gateway.parts import Parts, parts_of

__all__ = ["audit", "router"]

router: Final = APIRouter(tags=["operations"])


class AuditQuery(BaseModel):
    """The page of `GET /audit`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    size: int = Field(default=50, ge=1, le=500)
    cursor: int | None = Field(default=None, ge=1, lt=2**63, description="`nextCursor` of the page before.")


class AuditEntry(views.View):
    """What somebody ordered; whether it could be done is not in it."""

    at: datetime
    actor: str
    """The key's name; `anonymous` while no key was ever made, `cli` for the command line's own work on keys."""
    key_id: str | None
    action: str
    target: str
    details: dict[str, Any]
    address: str | None


class AuditPage(views.View):
    """Entries, newest first."""

    content: list[AuditEntry]
    size: int
    next_cursor: int | None


@router.get("/audit", summary="Who did what", response_model=AuditPage)
async def audit_log(query: Annotated[AuditQuery, Query()], parts: Annotated[Parts, Depends(parts_of)]) -> Response:
    """Return what was ordered, newest first: by whom, from where, on what."""
    entries = await parts.audit.page(before=query.cursor, limit=query.size + 1)
    page = entries[: query.size]
    answer = {
        "content": [_view(entry) for entry in page],
        "size": query.size,
        "nextCursor": page[-1].id if len(entries) > query.size else None,
    }
    return Response(views.dumps(answer), media_type="application/json")


def _view(stored: StoredEntry) -> dict[str, Any]:
    entry = stored.entry
    return {
        "at": stored.at,
        "actor": entry.actor,
        "keyId": entry.key_id,
        "action": entry.action,
        "target": entry.target,
        "details": entry.details,
        "address": entry.address,
    }
