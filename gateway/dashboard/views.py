"""What a page is: a template, the regions of it that change, and the reading that fills them."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlencode

from starlette.responses import Response

from distriqueue.core.access import Scope, words
from gateway.dashboard.desk import Ask

Context = dict[str, Any]
Regions = dict[str, str]
"""HTML by the id of the element that it fills."""

LIVE: Final = "/live/"
SHARED_FOR: Final = 0.8
"""A reading is shared by those who want one within this share of the view's pace."""
MAX_SHARED: Final = 500


@dataclass(frozen=True)
class View:
    """A page. `read` fills its template; the `regions`, each a template of its own, are filled again and again."""

    name: str
    template: str
    read: Callable[[Ask], Awaitable[Context]]
    regions: Mapping[str, str] = field(default_factory=dict)
    pace_s: float = 1.0
    takes: Scope = Scope.READ
    follow: Callable[[Ask], AsyncIterator[Regions]] | None = None
    """How to go on, where filling the regions again would cost more than is needed."""

    def live_url(self, ask: Ask, **params: str) -> str:
        """Return where the page's stream is."""
        asked = {name: value for name, value in {**ask.params, **params}.items() if value}
        return f"{LIVE}{self.name}{'?' if asked else ''}{urlencode(asked)}"

    async def page(self, ask: Ask, *, gzipped: bool = False) -> Response:
        """Answer with the whole page."""
        context = await self.read(ask)
        context = ask.context | {"view": self.name, "live": self.live_url(ask), "q": ""} | context
        return ask.desk.renderer.page(self.template, context, gzipped=gzipped)

    async def fill(self, ask: Ask) -> Regions:
        """Read, and fill the regions."""
        context = ask.context | {"view": self.name, "q": ""} | await self.read(ask)
        return {region: ask.desk.renderer.text(template, context) for region, template in self.regions.items()}


@dataclass(slots=True)
class _Shared:
    filled_at_s: float = -1e9
    regions: Regions = field(default_factory=dict)
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)


class Memo:
    """Fills a view once for all who look at the same at the same time."""

    def __init__(self) -> None:
        self._shared: dict[tuple[str, ...], _Shared] = {}

    async def fill(self, view: View, ask: Ask) -> Regions:
        """Return the regions, filled a moment ago."""
        key = (view.name, urlencode(sorted(ask.params.items())), words(ask.caller.scopes))
        if len(self._shared) >= MAX_SHARED and key not in self._shared:
            self._shared.pop(next(iter(self._shared)))
        shared = self._shared.setdefault(key, _Shared())
        async with shared.turn:
            if time.monotonic() - shared.filled_at_s >= SHARED_FOR * view.pace_s:
                shared.regions = await view.fill(ask)
                shared.filled_at_s = time.monotonic()
            return shared.regions


def partials(regions: Regions) -> str:
    """Wrap regions for htmx, which puts each where it belongs; what has not changed there is left alone."""
    return "".join(
        f'<hx-partial hx-target="#{region}" hx-swap="innerMorph">{html}</hx-partial>'
        for region, html in regions.items()
    )
