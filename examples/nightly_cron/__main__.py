"""Nightly cron.

A schedule fires every night at half past two in Berlin; its next fires are shown, and those of one for the Sundays of
March, on the last of which there is no half past two. The nightly one is run once by hand, instead of waiting for the
night. Another schedule fires every two seconds, so that one sees it; then it is paused.
"""

import argparse
import sys
import tempfile
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from zoneinfo import ZoneInfo

from distriqueue import Client
from distriqueue.local.stack import Stack
from distriqueue.sdk.transport import Transport

HERE = Path(__file__).resolve().parent
ZONE = "Europe/Berlin"
NIGHTLY = "nightly-report"
MARCH = "sundays-of-march"
SECONDS = "every-two-seconds"
FIRES = 3
TIMEOUT_S = 30


def plan(gateway: Transport, name: str, cron: str, *, fires: int) -> None:
    """Make a schedule, and show when it fires: at the same time on the wall, whatever the clocks do."""
    body = {"name": name, "cron": cron, "timezone": ZONE, "type": "report", "payload": {"of": "the day"}}
    gateway.call("POST", "/api/schedules", body=body | {"overlap": "skip"})
    shown = gateway.call("GET", f"/api/schedules/{name}", query={"fires": fires})
    print(f"{name}, {shown['cron']!r} in {shown['timezone']}; the next fires:")
    for fire in shown["nextFires"]:
        at = datetime.fromisoformat(fire)
        print(f"  {at.astimezone(ZoneInfo(ZONE)):%a %d %b %H:%M %Z} = {at:%d %b %H:%M} UTC")


def run_by_hand(gateway: Transport, client: Client) -> None:
    """Make one job of the nightly schedule now."""
    job = gateway.call("POST", f"/api/schedules/{NIGHTLY}/run")
    print(f"run now: {client.get(job['id']).result(timeout=TIMEOUT_S)}")


def watch_seconds(gateway: Transport, client: Client) -> list[datetime]:
    """Let a schedule fire a few times, and return when; six fields begin with the second."""
    body = {"name": SECONDS, "cron": "*/2 * * * * *", "type": "report", "payload": {"of": "two seconds"}}
    print(f"{SECONDS}, {body['cron']!r}:")
    gateway.call("POST", "/api/schedules", body=body)
    fires: list[datetime] = []
    for event in client.events(type="report", status="completed", after=0):
        job = client.get(event.job_id).snapshot
        if job is None or job.schedule_name != SECONDS or job.scheduled_for is None:
            continue
        late_ms = (datetime.fromisoformat(job.result["made"]) - job.scheduled_for).total_seconds() * 1000
        print(f"  fire of {job.scheduled_for:%H:%M:%S} UTC, made {late_ms:.0f} ms later")
        fires.append(job.scheduled_for)
        if len(fires) == FIRES:
            break
    paused = gateway.call("PATCH", f"/api/schedules/{SECONDS}", body={"paused": True})
    print(f"paused after {paused['fired']} fires; the next fires: {paused['nextFires']}")
    return fires


def main() -> None:
    """Run the example."""
    argparse.ArgumentParser(prog="examples/nightly_cron", description=__doc__).parse_args()
    with tempfile.TemporaryDirectory(prefix="distriqueue-", ignore_cleanup_errors=True) as home:
        print("starting a stack …")
        with (
            Stack.start(
                Path(home) / "stack", workers=1, worker_app="jobs:registry", env={"PYTHONPATH": str(HERE)}
            ) as stack,
            Client(stack.gateway_urls[0]) as client,
            Transport(stack.gateway_urls[0]) as gateway,
        ):
            plan(gateway, NIGHTLY, "30 2 * * *", fires=3)
            plan(gateway, MARCH, "30 2 * 3 0", fires=5)
            run_by_hand(gateway, client)
            fires = watch_seconds(gateway, client)
    gaps_s = [(later - earlier).total_seconds() for earlier, later in pairwise(fires)]
    print(f"seconds between fires: {gaps_s}")
    sys.exit(gaps_s != [2.0] * (FIRES - 1))


if __name__ == "__main__":
    main()
