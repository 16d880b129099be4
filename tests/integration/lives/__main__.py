"""Searches for long, on a Postgres of its own."""

import argparse
import asyncio
import time

from distriqueue.core.states import LEGAL, Status
from distriqueue.store import schema
from tests.integration.lives.ground import ground
from tests.integration.lives.machine import search
from tests.servers.postgres import PostgresServer


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.integration.lives", description=__doc__)
    parser.add_argument("--examples", type=int, default=2000)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--no-shrink", action="store_true", help="show the first failure as it is found")
    asked = parser.parse_args()
    server = PostgresServer()
    try:
        server.start()
        name = asyncio.run(_migrated(server))
        started = time.monotonic()
        with ground(server.url(name)) as played_on:
            search(played_on, examples=asked.examples, steps=asked.steps, shrink=not asked.no_shrink)
    finally:
        server.close()
    tally = played_on.tally
    unseen = LEGAL - {(Status(was), Status(status)) for was, status in tally.transitions if was is not None}
    print(f"{tally.examples} examples, {tally.rules} rules, {tally.steps} steps, {tally.events} events", end=" ")
    print(f"in {time.monotonic() - started:.0f} s, {tally.collisions} collisions: nothing found")
    print("transitions not seen:", ", ".join(sorted(f"{was} > {status}" for was, status in unseen)) or "none")


async def _migrated(server: PostgresServer) -> str:
    name = await server.create_database()
    await schema.migrate(server.url(name))
    return name


if __name__ == "__main__":
    main()
