"""`/audit`: who ordered what."""

from typing import Final

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from distriqueue.core.access import Scope
from gateway.dashboard.answers import PageRoute, page
from gateway.dashboard.desk import Ask
from gateway.dashboard.views import Context, View

router: Final = APIRouter(route_class=PageRoute)

SIZE: Final = 50


async def _read(ask: Ask) -> Context:
    before = ask.param("before")
    number = int(before) if before.isascii() and before.isdigit() and len(before) < 19 else None
    entries = await ask.parts.audit.page(before=number, limit=SIZE + 1)
    shown = entries[:SIZE]
    return {
        "title": "Audit",
        "entries": shown,
        "older": shown[-1].id if len(entries) > SIZE else None,
        "paged": number is not None,
    }


VIEW: Final = View("audit", "audit.html", _read, {"entries": "audit/_entries.html"}, pace_s=2.0, takes=Scope.ADMIN)


@router.get("/audit", include_in_schema=False)
async def audit_log(request: Request) -> Response:
    """Show the log."""
    return await page(request, VIEW)
