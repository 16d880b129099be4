"""Somebody who submits jobs, at a steady pace: the compose profile `demo`.

    python load.py steady      # jobs of all priorities that do their work
    python load.py faulty      # jobs that are wrong, that nobody handles, that come too late, that are cancelled

DEMO_JOBS_PER_SECOND says how many; DISTRIQUEUE_URL and DISTRIQUEUE_API_KEY where to and as whom. Until SIGTERM.
"""

import asyncio
import itertools
import os
import random
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Final

from distriqueue import AsyncClient
from distriqueue.core.errors import Conflict, DistriQueueError
from distriqueue.core.job import Priority
from distriqueue.lifecycle import stop_signal, wait_for

Submit = Callable[[AsyncClient, int], Awaitable[None]]

WEIGHTS: Final = {Priority.CRITICAL: 1, Priority.HIGH: 2, Priority.MEDIUM: 4, Priority.LOW: 3}
SHOUT: Final = {"operation": "uppercase", "data": "hello"}
PATIENCE_S: Final = 10.0
"""For one submission while the gateways are away; what was not taken by then is left out."""

_rng = random.SystemRandom()


async def steady(client: AsyncClient, number: int) -> None:
    """Submit a job that completes."""
    priority = _rng.choices(tuple(WEIGHTS), weights=tuple(WEIGHTS.values()))[0]
    numbers = [_rng.randrange(1000) for _ in range(50)]
    job_type, payload = (
        ("calculate", {"operation": "statistics", "numbers": numbers}),
        ("transform", SHOUT),
        ("validate", {"type": "email", "value": f"user{number}@example.com"}),
    )[number % 3]
    await client.submit(job_type, payload, priority=priority, tags=["demo", "steady"])


async def faulty(client: AsyncClient, number: int) -> None:
    """Submit a job that does not complete, of one kind after the other."""
    tags = ["demo", "faulty"]
    match number % 4:
        case 0:  # its handler refuses the payload, by name of the field, and no retry would help
            await client.submit("calculate", {"numbers": ["one", "two"]}, tags=tags)
        case 1:
            await client.submit("demo.nobody_handles_this", {"number": number}, tags=tags)
        case 2:
            await client.submit("transform", SHOUT, queue_timeout=0.001, priority=Priority.LOW, tags=tags)
        case _:
            job = await client.submit("transform", SHOUT, priority=Priority.LOW, tags=tags)
            try:
                await client.cancel(job)
            except Conflict:  # it was faster
                return


LOADS: Final = {"steady": steady, "faulty": faulty}


async def run(submit: Submit, *, per_s: float) -> None:
    """Submit `per_s` jobs a second until SIGTERM; a refused one is told of and left out."""
    async with stop_signal() as stop, AsyncClient(retry_for_s=PATIENCE_S) as client:
        due_s = time.monotonic()
        for number in itertools.count():
            # What an outage kept from being submitted is not made up for.
            due_s = max(due_s + 1 / per_s, time.monotonic())
            if await wait_for(stop, due_s - time.monotonic()):
                return
            try:
                await submit(client, number)
            except DistriQueueError as error:
                sys.stderr.write(f"job {number} was not taken: {error}\n")


def main(arguments: list[str]) -> int:
    """Run the load that is named; 2 for a wrong use."""
    per_s = float(os.environ.get("DEMO_JOBS_PER_SECOND") or 5)
    if len(arguments) != 1 or arguments[0] not in LOADS or not per_s > 0:
        sys.stderr.write(f"usage: load.py {' | '.join(LOADS)}, with DEMO_JOBS_PER_SECOND above 0\n")
        return 2
    asyncio.run(run(LOADS[arguments[0]], per_s=per_s))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
