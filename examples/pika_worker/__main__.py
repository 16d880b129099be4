"""Jobs on RabbitMQ, run by a worker that has nothing of this project in it: `worker.py` needs only pika.

A stack without workers is started, on a RabbitMQ of its own or the one of --broker-url, and two workers beside it. One
of them is killed in the middle of a job. Each job ends once, and its result can be looked up: there are 9592 primes
below 100000.
"""

import argparse
import contextlib
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from distriqueue import Client
from distriqueue.core.states import Status
from distriqueue.local import launch
from distriqueue.local.stack import Stack
from distriqueue.sdk.transport import Transport
from tests.servers.process import ServerFailed
from tests.servers.rabbitmq import RabbitMQServer

WORKER = Path(__file__).with_name("worker.py")
KNOWN = {10_000: 1_229, 20_000: 2_262, 50_000: 5_133, 100_000: 9_592}
"""How many primes there are, from tables."""
TIMEOUT_S = 90


@contextlib.contextmanager
def rabbitmq(given: str | None) -> Iterator[str]:
    """Yield the address of a RabbitMQ: the given one, or a private one that ends with us."""
    if given:
        yield given
        return
    try:
        server = RabbitMQServer()
    except ServerFailed as exc:
        sys.exit(f"{exc}. Or name one that runs: --broker-url amqp://user:password@host/")
    try:
        print("starting a private RabbitMQ …")
        server.start()
        yield server.url
    finally:
        server.close()


@contextlib.contextmanager
def worker(stack: Stack, name: str) -> "Iterator[subprocess.Popen[bytes]]":
    """Run worker.py beside the stack."""
    env = {
        **os.environ,
        "DISTRIQUEUE_BROKER_URL": stack.broker_url,
        "DISTRIQUEUE_GATEWAY_URL": ",".join(stack.gateway_urls),
        "DISTRIQUEUE_ORCHESTRATOR_URLS": ",".join(stack.orchestrator_urls),
        "DISTRIQUEUE_API_KEY": (stack.home.path / "workers.key").read_text(),
        "DISTRIQUEUE_WORKER_ID": name,
    }
    command = launch.command((sys.executable, str(WORKER)), signal.SIGTERM)  # it ends with us, however we end
    with subprocess.Popen(command, env=env) as process:
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()


def play(stack: Stack) -> bool:
    """Submit, kill a worker in the middle, and tell whether all is as it should be."""
    with worker(stack, "first") as first, Client(stack.gateway_urls[0]) as client:
        slow = client.submit("primes", {"below": 100_000, "pauseMs": 40})
        for event in slow.events():
            if event.progress and event.progress > 20:
                print(f"{event.progress:.0f} % of the slow job are done by {event.worker_id}; it is killed now")
                first.kill()
                break
        with worker(stack, "second"), worker(stack, "third"):
            quick = [client.submit("primes", {"below": below}) for below in KNOWN]
            jobs = [slow, *quick]
            right = True
            for job in jobs:
                found = job.wait(timeout=TIMEOUT_S).snapshot
                if found is None or found.status is not Status.COMPLETED:
                    print(f"job {job.id}: {found}")
                    return False
                below, primes = found.result["below"], found.result["primes"]
                right = right and primes == KNOWN[below]
                print(f"{primes:5} primes below {below:6}: attempt {found.attempt}, by {found.worker_id}")
            with Transport(stack.gateway_urls[0]) as gateway:
                for line in gateway.call("GET", f"/api/jobs/{slow.id}/logs"):
                    print(f"the slow job, attempt {line['attempt']}: {line['message']}")
            return right


def main() -> None:
    """Run the example."""
    parser = argparse.ArgumentParser(prog="examples/pika_worker", description=__doc__)
    parser.add_argument("--broker-url", help="a RabbitMQ that runs, amqp://…; a private one is started if not given")
    arguments = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="distriqueue-", ignore_cleanup_errors=True) as home,
        rabbitmq(arguments.broker_url) as broker_url,
    ):
        print("starting a stack without workers …")
        with Stack.start(Path(home) / "stack", workers=0, broker_url=broker_url) as stack:
            right = play(stack)
    print("all as it should be" if right else "something is wrong")
    sys.exit(not right)


if __name__ == "__main__":
    main()
