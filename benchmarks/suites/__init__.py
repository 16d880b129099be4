"""The suites, one module each with a constant `SUITE`, imported only when they are run."""

from importlib import import_module
from typing import Final

from benchmarks.model import Suite

NAMES: Final = (
    "single",
    "batch",
    "latency",
    "limits",
    "growth",
    "lanes",
    "streams",
    "scaling",
    "recovery",
    "heartbeats",
    "memory",
    "bloat",
    "dashboard",
    "telemetry",
)
"""In the order in which they run."""


def load(name: str) -> Suite:
    """Import one suite; ValueError names those that there are."""
    if name not in NAMES:
        raise ValueError(f"no suite {name!r}; there are {', '.join(NAMES)}")
    suite = import_module(f"benchmarks.suites.{name}").SUITE
    assert isinstance(suite, Suite)
    return suite
