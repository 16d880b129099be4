"""Forms as browsers post them, and what of a job is in them."""

import json
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import parse_qs

from starlette.requests import Request

from distriqueue.core.errors import DistriQueueError, InvalidRequest, MalformedJson, PayloadTooLarge
from distriqueue.core.job import Priority
from gateway.dashboard.desk import Ask
from gateway.dashboard.redaction import HIDDEN

MAX_BYTES: Final = 4_000_000
MOST_TYPES: Final = 100

Fields = dict[str, str]
"""A form's text by the names of its inputs, which are those of the API."""


async def posted(request: Request) -> Fields:
    """Return a form's fields, the first value of each; PayloadTooLarge."""
    parts: list[bytes] = []
    size = 0
    async for chunk in request.stream():
        parts.append(chunk)
        size += len(chunk)
        if size > MAX_BYTES:
            raise PayloadTooLarge(f"a form has at most {MAX_BYTES} bytes: use the API for more")
    found = parse_qs(b"".join(parts).decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=100)
    return {name: values[0] for name, values in found.items()}


def job_context(ask: Ask, fields: Fields, error: DistriQueueError | None) -> dict[str, Any]:
    """Return what a form with a job in it is filled from; what is wrong stands beside its input."""
    wrong = dict.fromkeys(fields, "")
    wrong |= {str(each["field"]).partition(".")[0]: str(each["message"]) for each in error.errors} if error else {}
    sample = ask.desk.sampler.latest
    return {
        "fields": fields,
        "error": error,
        "wrong": wrong,
        "types": sorted(sample.figures.by_type)[:MOST_TYPES] if sample else [],
        "lanes": [(lane.value, lane.value.lower()) for lane in Priority],
        "hidden": HIDDEN,
    }


def number(fields: Mapping[str, str], name: str) -> float:
    """Return a number, whole where it is one; InvalidRequest names the field."""
    try:
        value = float(fields[name])
    except ValueError:
        message = "must be a number"
        raise InvalidRequest(f"{name}: {message}", errors=[{"field": name, "message": message}]) from None
    return int(value) if value.is_integer() else value


def tags(fields: Mapping[str, str]) -> list[str]:
    """Return the tags, which commas separate."""
    return [tag.strip() for tag in fields["tags"].split(",") if tag.strip()]


def payload(fields: Mapping[str, str]) -> Any:
    """Return the payload; MalformedJson."""
    try:
        return json.loads(fields["payload"])
    except ValueError as exc:
        said = f"the payload is not JSON: {exc}"
        raise MalformedJson(said, errors=[{"field": "payload", "message": str(exc)}]) from exc
