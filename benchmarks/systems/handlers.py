"""`python -m workers benchmarks.systems.handlers:registry`: the same work as in every peer's task."""

from typing import Any, Final

from benchmarks.systems.marks import MarkWriter
from workers.handlers.registry import Registry

registry: Final = Registry()
_marks: Final = MarkWriter()


@registry.handler("add")
async def add(payload: dict[str, Any]) -> dict[str, int]:
    """Add two numbers."""
    return {"sum": _marks.add(payload["a"], payload["b"])}
