"""A desk without a gateway behind it."""

import asyncio
from types import SimpleNamespace
from typing import Any, cast

from distriqueue.core.access import ANONYMOUS, Caller
from gateway.dashboard.assets import Assets
from gateway.dashboard.desk import Ask, Desk
from gateway.dashboard.render import Renderer

ASSETS = Assets()


def desk(**parts: Any) -> Desk:
    """Return one whose gateway has these parts."""
    hub = SimpleNamespace(closed=asyncio.Event())
    keyring = SimpleNamespace(is_open=True)
    sessions = SimpleNamespace(csrf_cookie="")
    made = SimpleNamespace(
        assets=ASSETS,
        renderer=Renderer(ASSETS),
        parts=SimpleNamespace(**{"hub": hub, "keyring": keyring, "sessions": sessions, **parts}),
        sampler=SimpleNamespace(latest=None),
    )
    return cast("Desk", made)


def ask(caller: Caller = ANONYMOUS, *, at: Desk | None = None, **params: str) -> Ask:
    """Return one look at a page."""
    return Ask(at or desk(), caller, params)
