"""The OpenAPI document: FastAPI's own, with the request bodies of the lean routes and problems for errors.

`gateway.spec` writes the committed copy.
"""

from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic.json_schema import models_json_schema

from distriqueue import __version__
from distriqueue.access.rules import PUBLIC
from distriqueue.core.messages import Report
from gateway.access import RULES

GATED: Final = ("401", "403", "429")
REFUSED: Final = {
    "401": "No API key, or one that does not count",
    "403": "The API key has not the scope for this",
    "429": "Too many requests; see `Retry-After`",
    "503": "Postgres does not answer; see `Retry-After`",
}
REF: Final = "#/components/schemas/{model}"


def body_of(model: str, *, or_array_of: str | None = None, at_least: int = 0) -> dict[str, Any]:
    """Return the documentation of a JSON request body that a lean route reads itself."""
    one: dict[str, Any] = {"$ref": REF.format(model=model)}
    schema = (
        one
        if or_array_of is None
        else {"anyOf": [one, {"type": "array", "minItems": at_least, "items": {"$ref": REF.format(model=or_array_of)}}]}
    )
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


def document(app: FastAPI) -> dict[str, Any]:
    """Build the document once and keep it on the app."""
    if app.openapi_schema is None:
        from gateway.api.actions import BulkAction  # noqa: PLC0415  # as below
        from gateway.api.batch import BatchSubmission  # noqa: PLC0415  # as below
        from gateway.api.dead_letters import Replay  # noqa: PLC0415  # as below
        from gateway.api.plan import NewSchedule, ScheduleChange  # noqa: PLC0415  # as below
        from gateway.api.submission import JobSubmission  # noqa: PLC0415  # it imports this module's user

        spec = get_openapi(
            title="DistriQueue",
            version=__version__,
            summary="A distributed job platform: post a job, follow it, get its result.",
            routes=app.routes,
            tags=app.openapi_tags,
        )
        read_by_hand = (
            JobSubmission,
            BatchSubmission,
            Report,
            NewSchedule,
            ScheduleChange,
            BulkAction,
            Replay,
        )
        _, extra = models_json_schema([(model, "validation") for model in read_by_hand], ref_template=REF)
        spec.setdefault("components", {}).setdefault("schemas", {}).update(extra["$defs"])
        spec["components"]["securitySchemes"] = {"apiKey": {"type": "http", "scheme": "bearer"}}
        _refusals(spec)
        _problems(spec)
        app.openapi_schema = spec
    return app.openapi_schema


def _refusals(spec: dict[str, Any]) -> None:
    """Say of every call what the gate in front of it may answer, and what all of them may."""
    for path, operations in spec["paths"].items():
        for method, operation in operations.items():
            public = RULES.scope_of(method.upper(), path) is PUBLIC
            operation["security"] = [] if public else [{"apiKey": []}]
            if "requestBody" in operation:
                operation["responses"].setdefault("400", {"description": "Not JSON", "content": {}})
            for status, description in REFUSED.items():
                if not public or status not in GATED:
                    operation["responses"].setdefault(status, {"description": description, "content": {}})


def _problems(spec: dict[str, Any]) -> None:
    for path in spec["paths"].values():
        for operation in path.values():
            for status, answer in operation["responses"].items():
                if status == "422" or (status[0] in "45" and "content" in answer):
                    schema = {"$ref": REF.format(model="Problem")}
                    answer["content"] = {"application/problem+json": {"schema": schema}}
