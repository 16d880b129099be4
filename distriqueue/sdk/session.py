"""What the parts of a client share: its connections, its background tasks, its streams."""

import random
from collections.abc import AsyncGenerator
from types import TracebackType
from typing import Any, Final, Self

from distriqueue.sdk.background import Background
from distriqueue.sdk.ends import Ends
from distriqueue.sdk.exchange import IDEMPOTENCY_KEY, Query
from distriqueue.sdk.models import JobEvent
from distriqueue.sdk.stream import Gap, follow
from distriqueue.sdk.transport import AsyncTransport, new_idempotency_key


class Session:
    """One client's; open from `async with` to its end."""

    def __init__(self, transport: AsyncTransport, *, retry_for_s: float) -> None:
        self._retry_for_s = retry_for_s
        self._rng = random.SystemRandom()
        self.transport: Final = transport
        self.background: Final = Background()
        self.ends: Final = Ends(transport, self.background, retry_for_s=retry_for_s, rng=self._rng)

    async def __aenter__(self) -> Self:
        await self.background.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self.background.__aexit__(kind, error, trace)
        finally:
            await self.transport.aclose()

    def follow(self, query: Query, *, after: int | None = None) -> AsyncGenerator[JobEvent | Gap]:
        """Follow the stream: see `distriqueue.sdk.stream.follow`."""
        return follow(self.transport, query, after=after, retry_for_s=self._retry_for_s, rng=self._rng)

    async def post_once(self, path: str, body: object, *, idempotency_key: str | None = None) -> Any:
        """Post it under a key, so that it counts once however often it has to be sent."""
        headers = {IDEMPOTENCY_KEY: idempotency_key or new_idempotency_key()}
        return await self.transport.call("POST", path, body=body, headers=headers)
