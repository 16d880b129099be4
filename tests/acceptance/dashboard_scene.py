"""Jobs of every kind and state, for the dashboard's tests and pictures."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import httpx

HANDLERS: Final = "tests.acceptance.dashboard_handlers:registry"
ENDED: Final = ("completed", "failed", "timeout", "cancelled")
HOSTILE: Final = "<script>window.hacked = 1</script>"


@dataclass
class Scene:
    """A gateway with something to see; the ids of what is worth opening."""

    client: httpx.Client
    ids: dict[str, str] = field(default_factory=dict)

    def post(self, path: str, body: object = None, **headers: str) -> Any:
        """Post JSON, and return the answer's."""
        answer = self.client.post(path, json=body, headers=headers)
        assert answer.status_code < 300, answer.text
        return answer.json()

    def submit(self, type_: str, payload: dict[str, Any] | None = None, **fields: Any) -> str:
        """Submit a job, and return its id."""
        job: dict[str, Any] = self.post("/api/jobs", {"type": type_, "payload": payload or {}, **fields})
        return str(job["id"])

    def status(self, job_id: str) -> str:
        """Return a job's status."""
        return str(self.client.get(f"/api/jobs/{job_id}").json()["status"])

    def until(self, condition: Callable[[], bool], what: str, *, timeout_s: float = 30.0) -> None:
        """Look again and again until the condition holds."""
        deadline_s = time.monotonic() + timeout_s
        while not condition():
            assert time.monotonic() < deadline_s, f"{what}: not within {timeout_s:g} s"
            time.sleep(0.05)

    def until_ended(self, *job_ids: str) -> None:
        """Wait until these have ended."""
        self.until(lambda: all(self.status(job_id) in ENDED for job_id in job_ids), "the end of jobs")

    def fill(self) -> None:
        """Make jobs of every kind."""
        soon = (datetime.now(UTC) + timedelta(hours=3)).isoformat()
        once = {"maxRetries": 0}
        failed = [
            self.submit("invoice.charge", {"refuse": True, "card_last4": str(4000 + n)}, tags=["billing"], **once)
            for n in range(7)
        ]
        failed += [self.submit("import.rows", {"bad_row": n + 1}, tags=["nightly"], **once) for n in range(3)]
        self.ids["failed"] = failed[0]
        self.ids["redacted"] = self.submit(
            "invoice.charge",
            {
                "amount": 4200,
                "customer": {"id": 7, "api_key": "sk_live_very_secret", "name": "Ada"},
                "password": "hunter2",
            },
            tags=["billing"],
            priority="HIGH",
            metadata={"request": "r-1", "authorization": "Bearer abc"},
        )
        for n in range(30):
            self.submit(
                "report.build", {"month": n % 12 + 1}, priority=("LOW", "MEDIUM", "HIGH")[n % 3], tags=["nightly"]
            )
        self.ids["retrying"] = self.submit(
            "invoice.charge", {"refuse": True}, retryPolicy={"type": "fixed", "base": 3600, "cap": 3600}
        )
        self.ids["scheduled"] = self.submit("report.build", {"month": 1}, scheduleAt=soon, priority="CRITICAL")
        parent = self.submit("thumbnail.render", {"steps": 3})
        second = self.submit("import.rows", {"source": "s3"})
        self.ids["graph"] = self.submit("report.build", {"month": 2}, dependsOn=[parent, second], tags=["graph"])
        for n in range(3):
            self.submit("invoice.charge", {"amount": n}, dependsOn=[self.ids["graph"]])
        batch = self.post(
            "/api/jobs/batch",
            {
                "jobs": [{"type": "thumbnail.render", "payload": {"steps": 2}} for _ in range(12)],
                "batchName": "autumn catalogue",
            },
        )
        self.ids["batch"] = batch["batchId"]
        for name, cron, paused in (
            ("nightly-report", "30 4 * * *", False),
            ("hourly-import", "0 * * * *", False),
            ("weekly-digest", "0 8 * * 1", True),
        ):
            self.post(
                "/api/schedules",
                {
                    "name": name,
                    "cron": cron,
                    "timezone": "Europe/Berlin",
                    "type": "report.build",
                    "payload": {"kind": name},
                    "tags": ["cron"],
                    "paused": paused,
                },
            )
        self.client.put("/api/rate-limits/mail.send", json={"permits": 100, "perSeconds": 60})
        self.until_ended(*failed, self.ids["graph"], self.ids["redacted"])
        self.ids["cancelled"] = self.submit("report.build", {"month": 3}, scheduleAt=soon)
        self.post(f"/api/jobs/{self.ids['cancelled']}/cancel")
        self.client.post("/api/queues/job.low/pause", params={"reason": "storage maintenance until 18:00"})
        for n in range(25):
            self.submit("report.build", {"month": n % 12 + 1}, priority="LOW")
        self.ids["running"] = self.submit("thumbnail.render", {"steps": 600, "step_s": 0.5}, priority="HIGH")
        self.submit("thumbnail.render", {"steps": 800, "step_s": 0.5})
        self.until(lambda: self.status(self.ids["running"]) == "running", "a job that runs")

    def add_hostile(self) -> None:
        """Make jobs whose every field would run in a page that believes it."""
        fields = {"tags": ["<i>tag</i>", '"quoted"'], "metadata": {"<u>m</u>": HOSTILE}, "uniqueKey": "<s>unique</s>"}
        self.ids["hostile"] = self.submit(
            HOSTILE, {"<i>k</i>": HOSTILE, "q": "'\"><img src=x onerror=alert(1)>"}, **fields
        )
        self.ids["hostile_failed"] = self.submit(HOSTILE, {"fail": True}, maxRetries=0)
        batch = self.post("/api/jobs/batch", {"jobs": [{"type": HOSTILE}], "batchName": HOSTILE})
        self.ids["hostile_batch"] = batch["batchId"]
        self.post("/api/schedules", {"name": "<script>hack", "cron": "0 0 1 1 *", "type": HOSTILE, "tags": [HOSTILE]})
        self.client.post("/api/queues/job.critical/pause", params={"reason": HOSTILE})
        self.until_ended(self.ids["hostile"], self.ids["hostile_failed"])
