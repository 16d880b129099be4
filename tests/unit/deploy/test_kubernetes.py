"""deploy/kubernetes, by the schemas of the API, and by what the parts have to agree on."""

from itertools import chain
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from distriqueue.broker.topology import LANES
from tests.unit.deploy.known import SETTINGS
from tests.unit.deploy.tools import ROOT, run

FOLDER: Final = ROOT / "deploy/kubernetes"
FILES: Final = sorted(path for path in FOLDER.glob("*/*.yaml") if path.name != "kustomization.yaml")
BUILT_IN: Final = [path for path in FILES if path.parent.name == "base"]
VERSIONS: Final = ("1.30", "1.37")
SECRETS: Final = {
    "database-url",
    "broker-url",
    "cluster-secret",
    "gateway-api-key",
    "worker-api-key",
    "webhook-secrets",
}


def _objects(*files: Path) -> list[dict[str, Any]]:
    return [each for file in files for each in yaml.safe_load_all(file.read_text("utf-8"))]


OBJECTS: Final = {(each["kind"], each["metadata"]["name"]): each for each in _objects(*BUILT_IN)}
PODS: Final = {
    name: each["spec"]["template"] for (kind, name), each in OBJECTS.items() if kind in ("Deployment", "StatefulSet")
}
CONTAINERS: Final = [
    pytest.param(pod, container, id=f"{name}-{container['name']}")
    for name, pod in PODS.items()
    for container in (*pod["spec"].get("initContainers", ()), *pod["spec"]["containers"])
]


@pytest.mark.parametrize("version", VERSIONS)
def test_the_api_knows_every_field(version: str) -> None:
    run("kubernetes-validate", "--strict", "--quiet", "-k", version, *map(str, BUILT_IN))


@pytest.mark.parametrize("folder", sorted({path.parent for path in FILES}), ids=lambda path: path.name)
def test_kustomize_is_told_of_every_file(folder: Path) -> None:
    said = yaml.safe_load((folder / "kustomization.yaml").read_text("utf-8"))
    assert [name for name in said["resources"] if not name.startswith("../")] == [
        name for name in said["resources"] if (folder / name).is_file()
    ]
    assert {path.name for path in FILES if path.parent == folder} <= set(said["resources"])
    assert said["namespace"] == OBJECTS["Namespace", "distriqueue"]["metadata"]["name"]


def test_there_is_what_each_service_needs() -> None:
    assert PODS.keys() == {"gateway", "orchestrator", "worker"}
    for name, pod in PODS.items():
        labels = pod["metadata"]["labels"]
        assert OBJECTS["PodDisruptionBudget", name]["spec"]["selector"]["matchLabels"] == labels
        assert OBJECTS["NetworkPolicy", name]["spec"]["podSelector"]["matchLabels"] == labels
        assert ("ServiceAccount", pod["spec"]["serviceAccountName"]) in OBJECTS
        assert "readinessProbe" in pod["spec"]["containers"][0]
    assert OBJECTS["HorizontalPodAutoscaler", "gateway"]["spec"]["scaleTargetRef"]["name"] == "gateway"
    assert "replicas" not in OBJECTS["Deployment", "gateway"]["spec"]


@pytest.mark.parametrize(("pod", "container"), CONTAINERS)
def test_a_container_is_told_what_it_reads_and_may_nothing(pod: dict[str, Any], container: dict[str, Any]) -> None:
    """The pod security level `restricted`, a file system that is read only, bounds."""
    assert {each["name"] for each in container["env"]} <= SETTINGS
    keys = {each["valueFrom"]["secretKeyRef"]["key"] for each in container["env"] if "secretKeyRef" in str(each)}
    assert keys <= SECRETS
    assert pod["spec"]["securityContext"]["runAsNonRoot"] is True
    assert pod["spec"]["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert container["resources"]["limits"].keys() == {"memory"}
    assert container["resources"]["requests"].keys() == {"cpu", "memory"}
    assert ("database-url" in keys) == (container["args"] != ["worker"])


def test_every_secret_is_explained() -> None:
    page = (ROOT / "docs/operations/kubernetes.md").read_text("utf-8")
    assert all(f"--from-literal={key}=" in page for key in SECRETS)


def test_the_peers_are_the_pods() -> None:
    spec = OBJECTS["StatefulSet", "orchestrator"]["spec"]
    (peers,) = (each["value"] for each in _env("orchestrator") if each["name"] == "DISTRIQUEUE_PEERS")
    pods = [f"orchestrator-{number}" for number in range(spec["replicas"])]
    assert peers == ",".join(f"{pod}=http://{pod}.{spec['serviceName']}:9081" for pod in pods)
    shared = OBJECTS["ConfigMap", "distriqueue"]["data"]
    assert shared["DISTRIQUEUE_ORCHESTRATOR_URLS"] == ",".join(
        f"http://{pod}.{spec['serviceName']}:8081" for pod in pods
    )
    assert shared.keys() <= SETTINGS


def test_a_worker_gets_more_than_its_drain_to_end() -> None:
    (drain,) = (each["value"] for each in _env("worker") if each["name"] == "DISTRIQUEUE_WORKER_DRAIN")
    assert PODS["worker"]["spec"]["terminationGracePeriodSeconds"] >= float(drain) + 10


def test_the_network_lets_no_worker_to_postgres() -> None:
    egress = OBJECTS["NetworkPolicy", "worker"]["spec"]["egress"]
    assert 5432 not in {port["port"] for rule in egress for port in rule["ports"]}
    assert OBJECTS["NetworkPolicy", "nobody"]["spec"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}


def test_workers_are_scaled_by_every_lane() -> None:
    keda = {each["kind"]: each for each in _objects(*(FOLDER / "keda").glob("worker-*.yaml"))}
    triggers = keda["ScaledObject"]["spec"]["triggers"]
    assert [trigger["metadata"]["queueName"] for trigger in triggers] == [lane.queue for lane in LANES]
    assert keda["ScaledObject"]["spec"]["scaleTargetRef"]["name"] in PODS
    assert {trigger["authenticationRef"]["name"] for trigger in triggers} == {
        keda["TriggerAuthentication"]["metadata"]["name"]
    }
    keys = {each["key"] for each in keda["TriggerAuthentication"]["spec"]["secretTargetRef"]}
    assert keys <= SECRETS


def _env(name: str) -> list[dict[str, Any]]:
    return list(chain.from_iterable(container["env"] for container in PODS[name]["spec"]["containers"]))
