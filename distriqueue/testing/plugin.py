"""Fixtures for pytest, there as soon as DistriQueue is installed: a stack of real processes, and a client of it.

Settings of pytest: `distriqueue_worker_app = "package.module:registry"` has the stack run your handlers, and
`distriqueue_workers` says by how many processes (1). The stack is started when first asked for, on free ports, in a
temporary directory, and ends with the session, also when that is killed.
"""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from distriqueue.local.stack import Stack
    from distriqueue.sdk.client import Client


def pytest_addoption(parser: pytest.Parser) -> None:
    """Name the settings."""
    parser.addini("distriqueue_worker_app", "MODULE:REGISTRY that the stack's workers run; the shipped handlers if not")
    parser.addini("distriqueue_workers", "worker processes of the stack", default="1")


@pytest.fixture(scope="session")
def distriqueue_stack(request: pytest.FixtureRequest) -> "Iterator[Stack]":
    """A whole stack of the session's own: Postgres, gateway, orchestrator, workers. NotStarted says why it is not."""
    # Here and not above: pytest loads this module in every run, of whatever project.
    from distriqueue.local.stack import Stack  # noqa: PLC0415

    config = request.config
    places = (str(config.rootpath), os.environ.get("PYTHONPATH", ""))
    with (
        tempfile.TemporaryDirectory(prefix="distriqueue-", ignore_cleanup_errors=True) as home,
        Stack.start(
            Path(home) / "stack",
            workers=int(config.getini("distriqueue_workers")),
            worker_app=config.getini("distriqueue_worker_app") or None,
            env={"PYTHONPATH": os.pathsep.join(place for place in places if place)},
        ) as stack,
    ):
        yield stack


@pytest.fixture
def distriqueue_client(distriqueue_stack: "Stack") -> "Iterator[Client]":
    """A client of the session's stack. Jobs of earlier tests are there, too: tell yours by their ids or tags."""
    from distriqueue.sdk.client import Client  # noqa: PLC0415

    with Client(distriqueue_stack.gateway_urls[0]) as client:
        yield client
