"""The job `report`: what a nightly report would be."""

from datetime import UTC, datetime
from typing import Any

from workers import JobContext, Registry

registry = Registry()


@registry.handler("report")
async def report(payload: dict[str, Any], ctx: JobContext) -> dict[str, Any]:
    """Say for whom, and when it was made."""
    ctx.log.info("report made", of=payload["of"])
    return {"of": payload["of"], "made": datetime.now(UTC).isoformat(timespec="milliseconds")}
