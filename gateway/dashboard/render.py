"""Templates to answers: everything is escaped, and nothing may run or load but what comes from here."""

import gzip
from collections.abc import Mapping
from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape
from starlette.responses import Response

from distriqueue.core.job import Priority
from distriqueue.core.states import RETRIABLE, TERMINAL, Status
from gateway.dashboard import words
from gateway.dashboard.assets import Assets

POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self';"
    " connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
HEADERS: Final = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
    "Vary": "HX-Request, Accept-Encoding, Cookie",
}
LEAST_GZIPPED: Final = 1_000
TONES: Final[Mapping[str, str]] = {
    "completed": "good",
    "failed": "bad",
    "timeout": "bad",
    "lost": "bad",
    "running": "live",
    "retrying": "warn",
    "blocked": "warn",
    "ACTIVE": "live",
    "IDLE": "good",
    "OVERLOADED": "warn",
    "UNRESPONSIVE": "bad",
    "SHUTTING_DOWN": "warn",
}
"""How a state looks; what is not here looks quiet."""


class Renderer:
    """Renders the templates."""

    def __init__(self, assets: Assets) -> None:
        self._environment = Environment(
            loader=PackageLoader("gateway.dashboard"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
        )
        self._environment.globals.update(
            asset=assets.url,
            icons=assets.url("icons.svg"),
            statuses=[status.value for status in Status],
            priorities=list(Priority),
            terminal=frozenset(TERMINAL),
            retriable=frozenset(RETRIABLE),
            between=words.between,
            nothing=words.NOTHING,
        )
        self._environment.filters.update(
            count=words.count,
            exact=words.exact,
            span=words.span,
            percent=words.percent,
            moment=words.moment,
            stamp=words.stamp,
            size=words.size,
            sentence=words.sentence,
            tone=lambda state: TONES.get(str(state), "quiet"),
            time=_time,
            short=lambda job_id: str(job_id)[-8:],
        )

    def text(self, template: str, context: Mapping[str, Any]) -> str:
        """Render a template."""
        return self._environment.get_template(template).render(context)

    def page(self, template: str, context: Mapping[str, Any], *, status: int = 200, gzipped: bool = False) -> Response:
        """Answer with a whole page, or a part of one."""
        body = self.text(template, context).encode()
        headers = dict(HEADERS)
        if gzipped and len(body) >= LEAST_GZIPPED:
            body = gzip.compress(body, 5)
            headers["Content-Encoding"] = "gzip"
        return Response(body, status, headers, media_type="text/html")


def _time(at: Any) -> Markup:
    """Write a time as UTC, which the page's script turns into what is said of it: `3 min ago`."""
    if at is None:
        return escape(words.NOTHING)
    said = words.moment(at)
    return Markup('<time datetime="{}" title="{} UTC">{}</time>').format(words.stamp(at), said, said)
