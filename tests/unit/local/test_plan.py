"""Which processes a stack consists of."""

import socket
from pathlib import Path

import pytest

from distriqueue.core.errors import Conflict
from distriqueue.local import ports
from distriqueue.local.plan import Options, Raft, dialled, plan
from distriqueue.local.state import Role


def test_one_port_moves_everything() -> None:
    options = Options(home="h", port=9000, gateways=3, orchestrators=2)
    assert options.gateway_ports() == (9000, 9003, 9004)
    assert options.orchestrator_ports() == (9001, 9002)
    assert dict(options.wanted_ports())[9003] == "gateway2"


def test_services_are_tied_together_by_settings() -> None:
    options = Options(home="h", port=9000, gateways=2, workers=2, worker_capacity=7, worker_app="app:registry")
    made = plan(options, env={"KEPT": "1"}, database_url="postgresql://d", broker_url="amqp://b")
    gateway, _, orchestrator = made.control
    assert gateway.env["DISTRIQUEUE_GATEWAY_PORT"] == "9000"
    assert orchestrator.env["DISTRIQUEUE_NODE_ID"] == "orchestrator1"
    worker = made.workers[1]
    assert worker.role is Role.WORKER
    assert worker.argv[-2:] == ("workers", "app:registry")
    assert worker.env["KEPT"] == "1"
    assert worker.env["DISTRIQUEUE_WORKER_ID"] == "worker2"
    assert worker.env["DISTRIQUEUE_WORKER_CAPACITY"] == "7"
    assert worker.env["DISTRIQUEUE_GATEWAY_URL"] == "http://127.0.0.1:9000,http://127.0.0.1:9002"
    assert worker.env["DISTRIQUEUE_ORCHESTRATOR_URLS"] == "http://127.0.0.1:9001"
    assert worker.env["DISTRIQUEUE_BROKER_URL"] == "amqp://b"


def test_three_orchestrators_know_each_other_and_share_a_secret_that_workers_do_not_see() -> None:
    made = plan(
        Options(home="h", port=9000, orchestrators=3),
        env={},
        database_url="postgresql://d",
        broker_url="amqp://b",
        raft=Raft(25_000, "a secret of the home", Path("h/orchestrators")),
    )
    first, _, third = made.control[1:]
    assert first.env["DISTRIQUEUE_PEERS"] == third.env["DISTRIQUEUE_PEERS"]
    assert first.env["DISTRIQUEUE_PEERS"].startswith("orchestrator1=http://127.0.0.1:25000,orchestrator2=")
    assert third.env["DISTRIQUEUE_RAFT_PORT"] == "25002"
    assert third.env["DISTRIQUEUE_CLUSTER_SECRET"] == "a secret of the home"
    assert third.env["DISTRIQUEUE_DATA_DIR"] == "h/orchestrators/orchestrator3"
    assert "DISTRIQUEUE_CLUSTER_SECRET" not in made.workers[0].env
    urls = "http://127.0.0.1:9001,http://127.0.0.1:9002,http://127.0.0.1:9003"
    assert made.workers[0].env["DISTRIQUEUE_ORCHESTRATOR_URLS"] == urls


def test_a_worker_never_sees_the_jobs_database_of_a_rabbitmq_stack() -> None:
    made = plan(Options(home="h"), env={"DISTRIQUEUE_DATABASE_URL": "x"}, database_url="d", broker_url="amqp://b")
    assert "DISTRIQUEUE_DATABASE_URL" not in made.workers[0].env


def test_a_gateway_on_every_address_is_called_on_loopback() -> None:
    made = plan(
        Options(home="h", port=9000), env={"DISTRIQUEUE_GATEWAY_HOST": "0.0.0.0"}, database_url="d", broker_url="b"
    )
    assert made.control[0].url == "http://127.0.0.1:9000"
    assert dialled("::") == "[::1]"
    assert dialled("10.0.0.7") == "10.0.0.7"


def test_a_taken_port_is_named_with_its_holder() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(
            Conflict, match=rf"port {port} \(gateway1\) is taken by process \d+ \(.*python.*\): stop that"
        ):
            ports.require_free([(port, "gateway1")], "127.0.0.1")
    ports.require_free([(port, "gateway1")], "127.0.0.1")


def test_a_block_of_ports_is_free_and_below_the_ports_of_outgoing_connections() -> None:
    first = ports.free_block(5)
    assert all(ports.is_free(port) for port in range(first, first + 5))
    assert first + 5 <= 32_000
