"""The dashboard's routes, in the order in which they are looked for; the gateway's `app` mounts them."""

from typing import Annotated, Final

from fastapi import APIRouter, FastAPI, Path
from starlette.requests import Request
from starlette.responses import Response

from distriqueue.core.errors import Forbidden, NotFound
from gateway.dashboard.answers import PageRoute
from gateway.dashboard.desk import ask_of
from gateway.dashboard.live import stream
from gateway.dashboard.pages import (
    audit,
    batches,
    cluster,
    dead_letters,
    job,
    jobs,
    keys,
    limits,
    new,
    overview,
    queues,
    schedule,
    schedules,
    workers,
)
from gateway.dashboard.views import Memo

PAGES: Final = (
    overview,
    jobs,
    new,
    job,
    queues,
    limits,
    workers,
    schedule,
    schedules,
    batches,
    dead_letters,
    cluster,
    audit,
    keys,
)
VIEWS: Final = {
    view.name: view
    for view in (
        overview.VIEW,
        jobs.VIEW,
        job.VIEW,
        queues.VIEW,
        workers.VIEW,
        schedules.VIEW,
        batches.VIEW,
        batches.ONE,
        dead_letters.VIEW,
        cluster.VIEW,
        audit.VIEW,
        keys.VIEW,
    )
}


def install(app: FastAPI) -> None:
    """Serve the pages; what they work with is the `desk` of the app's state."""
    for module in PAGES:
        app.include_router(module.router)
    router = APIRouter(route_class=PageRoute)
    memo = Memo()

    @router.get("/live/{view}", include_in_schema=False)
    async def live(view: Annotated[str, Path(max_length=40)], request: Request) -> Response:
        """Follow a page."""
        ask = ask_of(request)
        followed = VIEWS.get(view)
        if followed is None:
            raise NotFound(f"there is no page {view!r} to follow")
        if not ask.caller.may(followed.takes):
            raise Forbidden(f"this takes the scope `{followed.takes}`")
        return stream(followed, ask, memo)

    app.include_router(router)
