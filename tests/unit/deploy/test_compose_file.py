"""docker-compose.yml, as both Composes and a linter read it, and what must hold for every service."""

import re
import subprocess
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from tests.unit.deploy.known import SETTINGS
from tests.unit.deploy.tools import ROOT, checked, run

TEXT: Final = (ROOT / "docker-compose.yml").read_text("utf-8")
SERVICES: Final[dict[str, dict[str, Any]]] = yaml.safe_load(TEXT)["services"]
EXAMPLE: Final = (ROOT / ".env.example").read_text("utf-8")
OURS: Final = "${DISTRIQUEUE_IMAGE:-distriqueue:local}"
ONCE: Final = ("migrate", "rabbitmq-spread")
PUBLIC: Final = {"postgres:17", "rabbitmq:4-management", "prom/prometheus:v3.5.0", "grafana/grafana:12.0.0"}
DEBIANS: Final = Path("/usr/bin/docker-compose")


def test_compose_5_accepts_it() -> None:
    run("docker-compose", "--profile", "*", "config", "-q")


def test_compose_1_29_accepts_it() -> None:
    if not DEBIANS.exists():
        pytest.skip("docker-compose 1.29 is not installed: Debian 12's package docker-compose")
    if "1.29" not in subprocess.run([DEBIANS, "version", "--short"], capture_output=True, text=True, check=True).stdout:
        pytest.skip("this system's docker-compose is another than 1.29")
    checked(str(DEBIANS), "--profile", "*", "config", "-q")


def test_the_linter_has_nothing_to_say() -> None:
    """Besides what .compose-lint.yml leaves out, with reasons."""
    assert "0 issues" in run("compose-lint", "docker-compose.yml")


def test_the_names_that_the_first_stack_had_are_there() -> None:
    assert {"api-gateway", "orchestrator1", "orchestrator2", "orchestrator3", "python-worker1"} <= SERVICES.keys()
    assert {service["image"] for service in SERVICES.values()} == PUBLIC | {OURS}


def test_up_alone_starts_the_cluster_and_profiles_the_rest() -> None:
    extra = {name: service["profiles"] for name, service in SERVICES.items() if "profiles" in service}
    assert extra == {
        **{key: ["ha"] for key in ("rabbitmq2", "rabbitmq3", "rabbitmq-spread")},
        **{key: ["monitoring"] for key in ("prometheus", "grafana")},
        **{key: ["demo"] for key in ("demo-steady", "demo-faulty")},
    }


def test_every_port_is_one_of_this_machine_alone() -> None:
    ports = [port for service in SERVICES.values() for port in service.get("ports", ())]
    assert len(ports) == 8
    assert all(re.fullmatch(r"127\.0\.0\.1:\$\{\w+:-\d+\}:\d+", port) for port in ports), ports


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_is_bounded_restarted_and_checked(name: str) -> None:
    service = SERVICES[name]
    assert {"mem_limit", "cpus", "pids_limit", "logging"} <= service.keys()
    assert service["cap_drop"] == ["ALL"]
    assert service["restart"] == ("no" if name in ONCE else "unless-stopped")
    assert service["healthcheck"].get("disable") is True or service["healthcheck"]["test"][0] == "CMD"
    if service["image"] == OURS:
        assert service["read_only"] is True
        assert service["init"] is True


def test_only_who_may_knows_the_database() -> None:
    """Neither its address, nor a way to it."""
    store = {name for name, service in SERVICES.items() if "store" in service["networks"]}
    told = {name for name, service in SERVICES.items() if "DISTRIQUEUE_DATABASE_URL" in service.get("environment", {})}
    assert store - {"postgres"} == told
    assert told == {"migrate", "api-gateway", "api-gateway2", "orchestrator1", "orchestrator2", "orchestrator3"}
    assert yaml.safe_load(TEXT)["networks"]["store"] == {"internal": True}


def test_our_services_are_told_only_what_they_read() -> None:
    told = {key for service in SERVICES.values() for key in service.get("environment", {}) if key.startswith("DISTRI")}
    assert told <= SETTINGS


def test_every_setting_of_the_file_is_in_the_example_with_its_default() -> None:
    used = dict(re.findall(r"\$\{(\w+):-([^}]*)\}", TEXT))
    explained = dict(re.findall(r"^#(\w+)=(.*)$", EXAMPLE, re.MULTILINE))
    assert explained.pop("COMPOSE_PROFILES") == "monitoring"
    assert explained == used


def test_what_is_mounted_is_there() -> None:
    for service in SERVICES.values():
        for volume in service.get("volumes", ()):
            source = volume.partition(":")[0]
            assert not source.startswith(".") or (ROOT / source).exists(), source
