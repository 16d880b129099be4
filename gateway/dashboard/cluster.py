"""What the orchestrators say of themselves: asked over HTTP, at most every two seconds for all tabs together.

Who leads, and who led, is in Postgres, and is shown even when no orchestrator answers. What only they know, each node's
contact to the others and the duties' runs, takes an API key with `read` once there are keys, and an order to step down
one with `operate`: DISTRIQUEUE_API_KEY of the gateway. Who may give that order is decided before, at the gate.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import httpx

from distriqueue.core.errors import Conflict, Forbidden, Unavailable
from gateway.dashboard.settings import ClusterSettings

FRESH_S: Final = 2.0
TIMEOUT_S: Final = 1.5
STEP_DOWN_S: Final = 10.0
"""To hand over takes as long as an election, at most."""


@dataclass(frozen=True, slots=True)
class Node:
    """One orchestrator, as it answered."""

    url: str
    name: str
    status: Mapping[str, Any] | None
    """`GET /api/cluster/status`; None when there was none."""
    error: str | None = None

    @property
    def leads(self) -> bool:
        """Whether it says that it leads."""
        return self.status is not None and self.status["role"] == "leader"


@dataclass(slots=True)
class Cluster:
    """Asks all of them at once, and keeps the answer for a moment."""

    urls: tuple[str, ...]
    client: httpx.AsyncClient
    _nodes: list[Node] = field(default_factory=list)
    _asked_at_s: float = -FRESH_S
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    @classmethod
    @asynccontextmanager
    async def open(cls, settings: ClusterSettings) -> AsyncIterator["Cluster"]:
        """Make a client for them; nothing is asked yet."""
        headers = {}
        if settings.api_key is not None:
            headers["Authorization"] = f"Bearer {settings.api_key.get_secret_value()}"
        async with httpx.AsyncClient(timeout=TIMEOUT_S, trust_env=False, headers=headers) as client:
            yield cls(settings.orchestrator_urls, client)

    async def nodes(self) -> list[Node]:
        """Return what each says, in the order of the setting; those that do not answer say why."""
        async with self._turn:
            if time.monotonic() - self._asked_at_s >= FRESH_S:
                async with asyncio.TaskGroup() as group:
                    asked = [group.create_task(self._ask(url)) for url in self.urls]
                self._nodes = [task.result() for task in asked]
                self._asked_at_s = time.monotonic()
            return self._nodes

    async def step_down(self, leader: Node) -> str:
        """Let the leader hand over, and return who leads then; Conflict, Forbidden, Unavailable."""
        try:
            answer = await self.client.post(f"{leader.url}/api/cluster/step-down", json={}, timeout=STEP_DOWN_S)
        except httpx.HTTPError as exc:
            raise Unavailable(f"{leader.name} does not answer ({type(exc).__name__})") from exc
        finally:
            self._asked_at_s = -FRESH_S
        if answer.status_code in (401, 403):
            raise Forbidden("the orchestrators take an API key with `operate`: set DISTRIQUEUE_API_KEY for the gateway")
        told: dict[str, Any] = answer.json()
        if answer.status_code != 200:
            error = Conflict if answer.status_code == 409 else Unavailable
            raise error(str(told.get("detail", f"{leader.name} answers {answer.status_code}")))
        return str(told["leader"])

    async def _ask(self, url: str) -> Node:
        address = url.partition("://")[2]
        try:
            answer = await self.client.get(f"{url}/api/cluster/status")
        except httpx.HTTPError as exc:
            return Node(url, address, None, f"does not answer ({type(exc).__name__})")
        if answer.status_code in (401, 403):
            return Node(url, address, None, "wants an API key: set DISTRIQUEUE_API_KEY for the gateway")
        if answer.status_code != 200:
            return Node(url, address, None, f"answers {answer.status_code}")
        status: dict[str, Any] = answer.json()
        return Node(url, status["node"], status)
