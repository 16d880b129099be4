"""Which scope each call takes, and that no route was forgotten."""

from collections.abc import Iterator
from typing import Any, cast

import pytest
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts
from starlette.routing import Mount

from distriqueue.access.rules import PUBLIC, Rules
from distriqueue.core.access import Scope
from gateway.access import RULES as GATEWAY
from gateway.app import build_app
from orchestrator import api, heartbeats
from orchestrator.access import RULES as ORCHESTRATOR

RULES = Rules(
    {
        PUBLIC: ("GET /health",),
        Scope.READ: ("GET /jobs", "GET /jobs/{}", "GET /static/*"),
        Scope.OPERATE: ("POST /jobs/{}/cancel", "POST /jobs/actions"),
    }
)


@pytest.mark.parametrize(
    ("method", "path", "scope"),
    [
        ("GET", "/health", PUBLIC),
        ("HEAD", "/health", PUBLIC),
        ("POST", "/health", Scope.ADMIN),
        ("GET", "/health/", Scope.ADMIN),
        ("GET", "/jobs", Scope.READ),
        ("GET", "/jobs/7", Scope.READ),
        ("GET", "/jobs/", Scope.ADMIN),
        ("GET", "/jobs/7/", Scope.ADMIN),
        ("DELETE", "/jobs/7", Scope.ADMIN),
        ("POST", "/jobs/7/cancel", Scope.OPERATE),
        ("POST", "/jobs//cancel", Scope.ADMIN),
        ("POST", "/jobs/7/8/cancel", Scope.ADMIN),
        ("GET", "/static/a/b.css", Scope.READ),
        ("GET", "/staticx", Scope.ADMIN),
        ("OPTIONS", "/jobs", Scope.ADMIN),
    ],
)
def test_what_a_call_takes(method: str, path: str, scope: Scope | None) -> None:
    assert RULES.scope_of(method, path) is scope


def test_a_call_is_in_the_table_once() -> None:
    with pytest.raises(ValueError, match="twice"):
        Rules({Scope.READ: ("GET /a",), Scope.ADMIN: ("GET /a",)})


def calls(app: FastAPI) -> Iterator[str]:
    """Name every call that the app answers, as the tables do."""
    for route in iter_route_contexts(app.routes):
        if isinstance(route.original_route, Mount):
            yield f"GET {route.original_route.path}/*"
            continue
        assert route.path, route
        shape = "/".join("{}" if part.startswith("{") else part for part in route.path.split("/"))
        for method in cast("Any", route).methods:
            yield f"{method} {shape}"


def test_every_route_of_the_gateway_is_in_its_table() -> None:
    found = set(calls(build_app()))
    assert "POST /api/jobs/{}/cancel" in found
    assert "GET /static/*" in found
    assert found == GATEWAY.calls.keys()


def test_every_route_of_the_orchestrator_is_in_its_table() -> None:
    found = {*calls(api.build(cast("Any", None))), f"POST {heartbeats.PATH}"}
    assert found == ORCHESTRATOR.calls.keys()


def test_only_health_takes_no_key() -> None:
    public = {call for rules in (GATEWAY, ORCHESTRATOR) for call, scope in rules.calls.items() if scope is PUBLIC}
    assert public == {
        "GET /health/live",
        "GET /health/ready",
        "GET /actuator/health",
        "GET /api/actuator/health",
        "GET /api/health",
    }


def test_what_changes_something_takes_more_than_reading() -> None:
    for rules in (GATEWAY, ORCHESTRATOR):
        for call, scope in rules.calls.items():
            assert call.startswith("GET ") or scope in {Scope.SUBMIT, Scope.WORKER, Scope.OPERATE, Scope.ADMIN}, call
