"""Which requests the lean routes take ahead of the app, and what becomes of their errors."""

from typing import Any

import httpx
import pytest
from fastapi import APIRouter, FastAPI
from starlette.requests import Request
from starlette.responses import Response

from distriqueue.core.errors import NotFound
from gateway.api import problems
from gateway.api.lean import LeanFirst, LeanRoute, read_json

router = APIRouter(prefix="/jobs", route_class=LeanRoute)


@router.post("")
async def take(request: Request) -> Response:
    """Do as the body says."""
    body = await read_json(request, max_bytes=100)
    if body == {"do": "raise"}:
        raise RuntimeError("a bug")
    if body == {"do": "refuse"}:
        raise NotFound("there is no such job")
    return Response(f"lean {request.app.state.name}")


@router.post("/{job_id}/more")
async def more(request: Request) -> Response:
    """Be served by the app: the path has a parameter."""
    return Response(request.path_params["job_id"])


ordinary = APIRouter(prefix="/jobs")


@ordinary.get("/plain")
async def plain() -> Response:
    """Be served by the app."""
    return Response("plain")


class Counting(FastAPI):
    """Counts what reaches the app."""

    served = 0

    async def __call__(self, *arguments: Any) -> None:
        self.served += 1
        await super().__call__(*arguments)


@pytest.fixture
def app() -> Counting:
    app = Counting()
    app.state.name = "app"
    problems.install(app)
    app.include_router(router, prefix="/api")
    app.include_router(ordinary, prefix="/api")
    return app


async def answer(app: FastAPI, method: str, path: str, **sent: Any) -> httpx.Response:
    lean = LeanFirst(app, [router, ordinary], prefix="/api")
    async with httpx.AsyncClient(transport=httpx.ASGITransport(lean), base_url="http://gateway") as client:
        return await client.request(method, path, **sent)


async def test_the_app_hears_nothing_of_a_lean_request(app: Counting) -> None:
    said = await answer(app, "POST", "/api/jobs", json={})
    assert (said.status_code, said.text, app.served) == (200, "lean app", 0)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/api/jobs", 405),
        ("POST", "/api/jobs/", 307),
        ("POST", "/api/nothing", 404),
        ("POST", "/api/jobs/{job_id}/more", 200),
        ("GET", "/api/jobs/plain", 200),
    ],
)
async def test_all_else_is_the_apps(app: Counting, method: str, path: str, status: int) -> None:
    said = await answer(app, method, path)
    assert (said.status_code, app.served) == (status, 1)


async def test_an_error_of_ours_is_its_problem(app: Counting) -> None:
    said = await answer(app, "POST", "/api/jobs", json={"do": "refuse"})
    assert (said.status_code, said.json()["code"]) == (404, "not_found")
    assert said.headers["content-type"] == "application/problem+json"


async def test_a_bug_is_a_500_in_the_same_shape(app: Counting) -> None:
    said = await answer(app, "POST", "/api/jobs", json={"do": "raise"})
    assert (said.status_code, said.json()["code"]) == (500, "internal")
    assert "a bug" not in said.text


@pytest.mark.parametrize(
    ("content", "headers", "status"),
    [
        (b"{", {"content-type": "application/json"}, 400),
        (b"{}", {"content-type": "text/plain"}, 415),
        (b"[" + b" " * 100 + b"]", {"content-type": "application/json"}, 413),
    ],
)
async def test_bodies_that_are_not_taken(app: Counting, content: bytes, headers: dict[str, str], status: int) -> None:
    said = await answer(app, "POST", "/api/jobs", content=content, headers=headers)
    assert said.status_code == status
