"""A webhook receiver.

Jobs tell a local receiver how they ended. The receiver verifies the signatures of Standard Webhooks, is down for one
delivery (which is tried again), takes each webhook once although one is replayed, and refuses a forged request.
"""

import argparse
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

from receiver import Receiver

from distriqueue import Client
from distriqueue.local.stack import Stack
from distriqueue.sdk.transport import Transport

TIMEOUT_S = 60


def until(receiver: Receiver, condition: Callable[[], bool], what: str) -> None:
    """Wait until the receiver has what is asked for; the example ends when that takes too long."""
    with receiver.changed:
        if not receiver.changed.wait_for(condition, TIMEOUT_S):
            sys.exit(f"{what}: not within {TIMEOUT_S} s")


def forge(url: str) -> int:
    """Send what nobody has signed; return the answer's status."""
    headers = {"webhook-id": "msg_forged", "webhook-timestamp": str(int(time.time())), "webhook-signature": "v1,Zm9v"}
    request = urllib.request.Request(url, b'{"type": "job.completed"}', headers, method="POST")
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as exc:
        with exc:
            return exc.code


def play(receiver: Receiver, client: Client, gateway: Transport) -> bool:
    """Submit, refuse, replay and forge, and tell whether all is as it should be."""
    hook = f"http://127.0.0.1:{receiver.server_port}/hook"
    receiver.refusing = 1
    print("three jobs end; the first delivery is answered 503:")
    summed = [client.submit("calculate", {"numbers": [n, n]}, callback_url=hook) for n in (1, 2)]
    wrong = client.submit("calculate", {"numbers": "none"}, callback_url=hook)
    until(receiver, lambda: len(receiver.taken) == 3, "three webhooks")
    by_job = {event["data"]["jobId"]: event for event in receiver.taken}
    results = [by_job[str(job.id)]["data"]["result"]["result"] for job in summed]
    kind = by_job[str(wrong.id)]["type"]
    print(f"results {results}, and one {kind}")

    print("one is replayed, with the same webhook-id:")
    delivery = gateway.call("GET", f"/api/jobs/{summed[0].id}/webhooks")[0]
    gateway.call("POST", f"/api/webhooks/{delivery['id']}/replay")
    until(receiver, lambda: receiver.doubles == 1, "the replay")

    print("one is forged:")
    status = forge(hook)
    print(f"{len(receiver.taken)} taken, {receiver.doubles} known already, {receiver.forged} forged ({status})")
    return (results, kind, len(receiver.taken), status) == ([2, 4], "job.failed", 3, 401)


def main() -> None:
    """Run the example."""
    argparse.ArgumentParser(prog="examples/webhook_receiver", description=__doc__).parse_args()
    with tempfile.TemporaryDirectory(prefix="distriqueue-", ignore_cleanup_errors=True) as home:
        print("starting a stack …")
        # Webhooks go to public addresses only, unless told otherwise.
        with Stack.start(Path(home) / "stack", workers=1, env={"DISTRIQUEUE_WEBHOOK_ALLOW": "127.0.0.1"}) as stack:
            secret = (stack.home.path / "webhook.secret").read_text().strip()
            with (
                Receiver(("127.0.0.1", 0), secret) as receiver,
                Client(stack.gateway_urls[0]) as client,
                Transport(stack.gateway_urls[0]) as gateway,
            ):
                serving = threading.Thread(target=receiver.serve_forever, daemon=True)
                serving.start()
                right = play(receiver, client, gateway)
                receiver.shutdown()
                serving.join(10)
    print("all as it should be" if right else "something is wrong")
    sys.exit(not right)


if __name__ == "__main__":
    main()
