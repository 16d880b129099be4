"""Whether the container's service does its work: the image's health check.

    healthy [gateway | orchestrator | worker]      # what runs in the container, if not given

A gateway and an orchestrator say so themselves. A worker has no port of its own: it is healthy when an orchestrator has
heard it. Run by path (`python -I -S healthy.py`), it imports the standard library only and costs some ten milliseconds.
Ends with 0 when healthy, with 1 and a line that says why when not.
"""

import http.client
import itertools
import json
import os
import sys
from pathlib import Path
from urllib.parse import quote, urlsplit

TIMEOUT_S = 2.0
HEARD = ("ACTIVE", "IDLE", "OVERLOADED", "SHUTTING_DOWN")
PAGE = 100
"""A worker's restarts that are looked through: each has an id of its own, and is kept for a day."""
MODULES = {"gateway": "gateway", "orchestrator": "orchestrator", "workers": "worker"}


class Unhealthy(Exception):
    """The service does not do its work; says why."""


def gateway() -> None:
    """Ask whether it reaches Postgres."""
    get(f"http://127.0.0.1:{setting('GATEWAY_PORT', '8080')}", "/health/ready")


def orchestrator() -> None:
    """Ask whether it records heartbeats."""
    get(f"http://127.0.0.1:{setting('ORCHESTRATOR_PORT', '8081')}", "/api/health")


def worker() -> None:
    """Ask the orchestrators, one after the other, whether one has heard this worker within the last seconds."""
    name = setting("WORKER_ID", "")
    if not name:
        raise Unhealthy("DISTRIQUEUE_WORKER_ID is not set, so nobody can be asked about this worker")
    # Each start of a worker adds a dot and a suffix to its name.
    path = f"/api/workers?after={quote(name, safe='')}.&size={PAGE}"
    failures = []
    for url in setting("ORCHESTRATOR_URLS", "http://127.0.0.1:8081").split(","):
        try:
            rows = json.loads(get(url.strip(), path))["content"]
        except Unhealthy as failure:
            failures.append(str(failure))
            continue
        states = [row["state"] for row in rows if row["workerId"].startswith(f"{name}.")]
        if not any(state in HEARD for state in states):
            raise Unhealthy(f"{url} has not heard {name}: {', '.join(states) or 'never'}")
        return
    raise Unhealthy("; ".join(failures))


CHECKS = {"gateway": gateway, "orchestrator": orchestrator, "worker": worker}


def get(url: str, path: str) -> bytes:
    """Return the body of a 200; Unhealthy for anything else."""
    parts = urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=TIMEOUT_S)
    key = setting("API_KEY", "")
    try:
        connection.request(
            "GET", parts.path.rstrip("/") + path, headers={"Authorization": f"Bearer {key}"} if key else {}
        )
        response = connection.getresponse()
        body = response.read()
    except (OSError, http.client.HTTPException) as exc:
        raise Unhealthy(f"{url}: {exc or type(exc).__name__}") from exc
    finally:
        connection.close()
    if response.status != http.client.OK:
        raise Unhealthy(f"{url} answers {response.status}: {body[:500].decode('utf-8', 'replace')}")
    return body


def setting(name: str, default: str) -> str:
    """Return what the service was told; an empty value counts as none."""
    return os.environ.get(f"DISTRIQUEUE_{name}") or default


def running(processes: Path = Path("/proc")) -> str:
    """Return which service runs in this container."""
    for file in processes.glob("[0-9]*/cmdline"):
        try:
            words = file.read_bytes().decode("utf-8", "replace").split("\0")
        except OSError:  # it ended meanwhile
            continue
        for option, module in itertools.pairwise(words):
            if option == "-m" and module in MODULES:
                return MODULES[module]
    raise Unhealthy("no service runs here")


def main(arguments: list[str]) -> int:
    """Check what is named, or what runs."""
    try:
        service = arguments[0] if arguments else running()
        if service not in CHECKS:
            raise Unhealthy(f"{service!r} is none of {', '.join(CHECKS)}")
        CHECKS[service]()
    except Unhealthy as failure:
        sys.stderr.write(f"{failure}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
