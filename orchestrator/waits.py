"""Waiting for whichever comes first."""

import asyncio
from collections.abc import Sequence


async def first_of(events: Sequence[asyncio.Event], *, timeout_s: float) -> None:
    """Return when any of the events is set, or after `timeout_s` seconds."""
    if any(event.is_set() for event in events):
        return
    async with asyncio.TaskGroup() as group:
        waits = [group.create_task(event.wait()) for event in events]
        await asyncio.wait(waits, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()
