"""`GET /live/{view}`: one stream per tab, with what has changed since it last looked, four times a second at most."""

import time
from collections.abc import AsyncIterator
from typing import Final

from sse_starlette import EventSourceResponse

from distriqueue.core.errors import DistriQueueError, NotFound, Unavailable
from distriqueue.lifecycle import wait_for
from gateway.dashboard.desk import Ask
from gateway.dashboard.views import Memo, Regions, View, partials

LEAST_PACE_S: Final = 0.25
PING_S: Final = 15
LASTS_S: Final = 600.0
"""Then the tab comes again by itself, and is let in anew: a key that was revoked meanwhile is not."""


def stream(view: View, ask: Ask, memo: Memo) -> EventSourceResponse:
    """Follow a view."""
    return EventSourceResponse(_frames(view, ask, memo), ping=PING_S, headers={"X-Accel-Buffering": "no"})


async def _frames(view: View, ask: Ask, memo: Memo) -> AsyncIterator[bytes]:
    sent: Regions = {}
    number = 0
    pace_s = max(view.pace_s, LEAST_PACE_S)
    ends_at_s = time.monotonic() + LASTS_S
    following = view.follow(ask) if view.follow is not None else _again(view, ask, memo)
    async for regions in following:
        changed = {region: html for region, html in regions.items() if sent.get(region) != html}
        sent |= changed
        if changed:
            number += 1
            yield _frame(partials(changed), number)
        if time.monotonic() >= ends_at_s or await wait_for(ask.parts.hub.closed, pace_s):
            return


async def _again(view: View, ask: Ask, memo: Memo) -> AsyncIterator[Regions]:
    notice = Notice(ask)
    while True:
        try:
            regions = await memo.fill(view, Ask(ask.desk, ask.caller, ask.params))
        except DistriQueueError as exc:
            yield notice.of(exc)
        else:
            yield regions | notice.none()


class Notice:
    """What a page says above all else while it cannot be read: nothing on it is taken away."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask

    def of(self, error: DistriQueueError) -> Regions:
        """Return the region that says so."""
        gone = isinstance(error, NotFound)
        context = {"message": error.message, "waits": isinstance(error, Unavailable), "gone": gone}
        return {"notice": self._ask.desk.renderer.text("_notice.html", context)}

    def none(self) -> Regions:
        """Return the empty region."""
        return {"notice": ""}


def _frame(html: str, number: int) -> bytes:
    lines = "".join(f"data: {line}\n" for line in html.split("\n"))
    return f"id: {number}\n{lines}\n".encode()
