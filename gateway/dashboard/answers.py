"""How the dashboard's routes answer: pages, the outcome of a button, and errors as either."""

from collections.abc import Callable, Coroutine
from typing import Any, Final

from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response

from distriqueue.core.errors import DistriQueueError, Forbidden, Unavailable
from distriqueue.telemetry import get_logger
from gateway.api.problems import field_errors, invalid
from gateway.dashboard.desk import Ask, ask_of
from gateway.dashboard.render import HEADERS
from gateway.dashboard.views import View, partials

log = get_logger("dashboard")

HTMX: Final = "hx-request"

Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class PageRoute(APIRoute):
    """Turns errors into pages, or into a note on the page that asked; takes writes from our own pages only."""

    def get_route_handler(self) -> Handler:
        """Return the handler with that around it."""
        handle = super().get_route_handler()

        async def handled(request: Request) -> Response:
            try:
                if request.method == "POST" and HTMX not in request.headers:
                    # A page of another site cannot send this header: browsers would ask us first, and we say nothing.
                    raise Forbidden("this is for the dashboard's own buttons: use the API instead")
                return await handle(request)
            except RequestValidationError as exc:
                return _refused(request, invalid(field_errors(exc.errors())))
            except DistriQueueError as exc:
                return _refused(request, exc)

        return handled


def takes_gzip(request: Request) -> bool:
    """Tell whether the browser reads gzip."""
    return "gzip" in request.headers.get("accept-encoding", "")


async def page(request: Request, view: View, **path: object) -> Response:
    """Answer with a view."""
    return await view.page(ask_of(request, **path), gzipped=takes_gzip(request))


SHEET: Final = "sheet"
"""The dialog that forms are asked in; it closes when it is emptied."""


async def done(ask: Ask, view: View | None, message: str, *, tone: str = "good", href: str = "") -> Response:
    """Say what was done, with where to see it, and show the page as it is by now; what was asked is asked no more."""
    regions = {SHEET: ""} | ({} if view is None else await view.fill(ask))
    said = note(ask, message, tone=tone, href=href)
    return Response(said + partials(regions), headers=HEADERS, media_type="text/html")


def note(ask: Ask, message: str, *, tone: str, href: str = "") -> str:
    """Return a note for the corner of the page."""
    toast = ask.desk.renderer.text("_toast.html", {"message": message, "tone": tone, "href": href})
    return f'<hx-partial hx-target="#toasts" hx-swap="beforeend">{toast}</hx-partial>'


def _refused(request: Request, error: DistriQueueError) -> Response:
    ask = ask_of(request)
    if HTMX in request.headers:
        return Response(note(ask, error.message, tone="bad"), error.http_status, HEADERS, media_type="text/html")
    context = ask.context | {
        "view": "",
        "live": "",
        "q": "",
        "error": error,
        "message": error.message,
        "waits": isinstance(error, Unavailable),
    }
    return ask.desk.renderer.page("error.html", context, status=error.http_status, gzipped=takes_gzip(request))
