"""A private Prometheus, and its promtool, from the system's package."""

import contextlib
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
import yaml

from distriqueue.local.ports import free_block
from tests.servers.process import ServerProcess, private_env

RULES: Final = Path(__file__).parents[2] / "monitoring" / "prometheus" / "rules"
ABSENT: Final = "{} is not installed: it is in the package `prometheus` (`./build-run.sh test` installs it)"
PROMTOOL_S: Final = 60.0


def program(name: str) -> str:
    """Return where a program of Prometheus's is; skips the test where there is none."""
    found = shutil.which(name)
    if found is None:
        pytest.skip(ABSENT.format(name))
    return found


def promtool(*arguments: str | Path, text: bytes = b"") -> str:
    """Run promtool on the input, return what it says; fails the test when it complains."""
    command = [program("promtool"), *map(str, arguments)]
    done = subprocess.run(command, input=text, capture_output=True, timeout=PROMTOOL_S, check=False)
    said = (done.stdout + done.stderr).decode()
    assert done.returncode == 0, said
    return said


class PrometheusServer:
    """Prometheus on 127.0.0.1 that scrapes and judges every second, by our rules."""

    def __init__(self, home: Path, jobs: Mapping[str, Sequence[str]], *, hold_s: float | None = None) -> None:
        """`jobs`: the addresses to scrape, by job; `hold_s`: how long alerts must hold, not the rules' time."""
        self._home = home
        self.port = free_block()
        self.url = f"http://127.0.0.1:{self.port}"
        config = home / "prometheus.yml"
        config.write_text(yaml.safe_dump(self._config(jobs, hold_s)))
        self._process = ServerProcess(
            [
                program("prometheus"),
                f"--config.file={config}",
                f"--storage.tsdb.path={home / 'data'}",
                f"--web.listen-address=127.0.0.1:{self.port}",
            ],
            log=home / "prometheus.log",
            env=private_env(),
        )

    def start(self) -> None:
        """Start it and wait until it is ready."""
        self._process.start(self._is_ready, timeout_s=30.0)

    def close(self) -> None:
        """End it."""
        self._process.kill()

    def query(self, expr: str) -> list[dict[str, Any]]:
        """Return what an expression yields now."""
        answer = httpx.post(f"{self.url}/api/v1/query", data={"query": expr}, timeout=10, trust_env=False)
        assert answer.status_code == 200, answer.text
        found: list[dict[str, Any]] = answer.json()["data"]["result"]
        return found

    def targets(self) -> dict[str, str]:
        """Return by scraped address how that went."""
        answer = httpx.get(f"{self.url}/api/v1/targets?state=active", timeout=10, trust_env=False).json()
        return {each["scrapeUrl"]: each["lastError"] or each["health"] for each in answer["data"]["activeTargets"]}

    def firing(self) -> set[str]:
        """Return the names of the alerts that fire."""
        answer = httpx.get(f"{self.url}/api/v1/alerts", timeout=10, trust_env=False).json()
        return {each["labels"]["alertname"] for each in answer["data"]["alerts"] if each["state"] == "firing"}

    def _config(self, jobs: Mapping[str, Sequence[str]], hold_s: float | None) -> dict[str, Any]:
        rules = self._home / "rules"
        rules.mkdir()
        for file in RULES.glob("*.yml"):
            content = yaml.safe_load(file.read_text())
            for rule in (rule for group in content["groups"] for rule in group["rules"]):
                if "for" in rule and hold_s is not None:
                    rule["for"] = f"{hold_s:g}s"
            (rules / file.name).write_text(yaml.safe_dump(content))
        return {
            "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
            "rule_files": [str(rules / "*.yml")],
            "scrape_configs": [_scrape(job, addresses) for job, addresses in jobs.items()],
        }

    def _is_ready(self) -> bool:
        with contextlib.suppress(httpx.TransportError):
            return httpx.get(f"{self.url}/-/ready", timeout=2, trust_env=False).status_code == 200
        return False


def _scrape(job: str, addresses: Sequence[str]) -> dict[str, Any]:
    config: dict[str, Any] = {"job_name": job, "static_configs": [{"targets": list(addresses)}]}
    if job == "rabbitmq-queues":
        config |= {
            "metrics_path": "/metrics/detailed",
            "params": {"family": ["queue_coarse_metrics", "queue_consumer_count"]},
        }
    return config
