"""Rate-limited API calls.

An API takes twelve calls a second and refuses what is more. First jobs call it as fast as they can: many are refused,
come again and are done in the end. Then their type gets a rate limit: the same jobs are done without a single refusal.
"""

import argparse
import sys
import tempfile
import threading
import time
from pathlib import Path

from api import LimitedApi
from jobs import Call, call

from distriqueue import Client
from distriqueue.local.stack import Stack
from distriqueue.sdk.transport import Transport

HERE = Path(__file__).resolve().parent
CALLS_PER_S = 12
PERMITS = 4
"""In any second at most PERMITS + PERMITS jobs start (a full bucket, and what flows in). A start is not yet the call:
there is room for some that come closer together on their way."""
GATEWAYS_HEAR_S = 1.0
"""A new limit counts at every gateway by then."""
TIMEOUT_S = 90


def run(client: Client, api: LimitedApi, count: int) -> int:
    """Make so many calls by jobs, say how it went, and return how many were refused."""
    refused, began_s = api.refused, time.monotonic()
    results = list(client.map(call, [Call(url=api.url)] * count, timeout=TIMEOUT_S, max_retries=50))
    refused = api.refused - refused
    attempts = sum(result["attempt"] for result in results)
    took_s = time.monotonic() - began_s
    print(f"  {len(results)} answers after {took_s:.1f} s: {attempts} attempts, {refused} refusals")
    return refused


def main() -> None:
    """Run the example."""
    parser = argparse.ArgumentParser(prog="examples/rate_limited_api", description=__doc__)
    parser.add_argument("--calls", type=int, default=40, help="how many jobs each time (%(default)s)")
    arguments = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="distriqueue-", ignore_cleanup_errors=True) as home,
        LimitedApi(calls_per_s=CALLS_PER_S) as api,
    ):
        threading.Thread(target=api.serve_forever, daemon=True).start()
        print("starting a stack …")
        with (
            Stack.start(
                Path(home) / "stack", workers=1, worker_app="jobs:registry", env={"PYTHONPATH": str(HERE)}
            ) as stack,
            Client(stack.gateway_urls[0]) as client,
            Transport(stack.gateway_urls[0]) as gateway,
        ):
            print(f"the API takes {CALLS_PER_S} calls a second; without a limit of ours:")
            without = run(client, api, arguments.calls)
            limit = gateway.call("PUT", "/api/rate-limits/call", body={"permits": PERMITS, "perSeconds": 1})
            time.sleep(GATEWAYS_HEAR_S)
            print(f"with a limit of {limit['permits']} starts in {limit['perSeconds']:g} s:")
            limited = run(client, api, arguments.calls)
        api.shutdown()
    right = without > 0 and limited == 0
    print("no refusal with the limit" if right else "not as expected")
    sys.exit(not right)


if __name__ == "__main__":
    main()
