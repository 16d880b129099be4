"""Handlers that make a dashboard worth looking at: `worker_app` of the stacks in the dashboard's tests and pictures."""

import asyncio
from typing import Any, Final

from workers.handlers.registry import Registry
from workers.runtime.context import JobContext

registry: Final = Registry()


class GatewayRefused(RuntimeError):
    """What the payment service says."""


@registry.handler("thumbnail.render")
async def render(payload: dict[str, Any], ctx: JobContext) -> dict[str, Any]:
    """Render in steps, with progress."""
    steps = int(payload.get("steps", 5))
    ctx.log.info("render started", steps=steps, source="s3://catalogue/4711.tif")
    for step in range(steps):
        ctx.progress(100 * step / steps, f"tile {step + 1} of {steps}")
        if step % 20 == 3:
            ctx.log.warning("tile is larger than its box", tile=step + 1)
        await asyncio.sleep(float(payload.get("step_s", 0.02)))
    return {"width": 640, "height": 480, "files": [f"thumb-{n}.webp" for n in range(3)]}


@registry.handler("invoice.charge")
async def charge(payload: dict[str, Any], ctx: JobContext) -> dict[str, Any]:
    """Charge, or be refused."""
    if payload.get("refuse"):
        raise GatewayRefused(f"card {payload.get('card_last4', '0000')} was declined by the issuer")
    await asyncio.sleep(0.01)
    return {"charged": payload.get("amount", 0), "currency": "EUR"}


@registry.handler("report.build")
async def build(payload: dict[str, Any], ctx: JobContext) -> dict[str, Any]:
    """Build a report."""
    await asyncio.sleep(float(payload.get("takes_s", 0.05)))
    return {"rows": 1_204, "format": "parquet"}


@registry.handler("import.rows")
async def import_rows(payload: dict[str, Any], ctx: JobContext) -> dict[str, Any]:
    """Import, and fail at a bad row."""
    if payload.get("bad_row"):
        row: dict[str, str] = {"sku": "A-1"}
        return {"price": row["price"]}
    return {"imported": 250}


@registry.handler("<script>window.hacked = 1</script>")
async def hostile(payload: dict[str, Any], ctx: JobContext) -> dict[str, Any]:
    """Say what a page must not believe, in every field that a handler can fill."""
    ctx.progress(50, "<img src=x onerror='window.hacked = 2'>")
    ctx.log.info("<script>window.hacked = 5</script>", field="<b>")
    if payload.get("fail"):
        raise ValueError("<svg onload='window.hacked = 3'></svg>")
    return {"<b>key</b>": "</code></pre><script>window.hacked = 4</script>"}
