"""`python -m benchmarks.systems.bare gateway|orchestrator`: the service as it would be if it counted nothing.

Every hook that counts is taken out before the service is made; what remains is what figures cost nobody.
"""

import asyncio
import sys
from contextlib import nullcontext
from typing import Any, Final

import uvloop

from distriqueue.settings import BrokerSettings, LogSettings, OrchestratorSettings, StoreSettings, TraceSettings
from distriqueue.telemetry import configure_logging
from distriqueue.telemetry.metrics import LoopLag, Publishes

A_DAY_S: Final = 86_400.0


def _silence(*_: object, **__: object) -> None:
    """Count nothing."""


def _put(of: type, **instead: object) -> None:
    """Replace parts of a class."""
    for name, part in instead.items():
        setattr(of, name, part)


async def _gateway() -> None:
    from gateway import __main__ as gateway  # noqa: PLC0415 - one service, not both
    from gateway.metrics import Metrics  # noqa: PLC0415

    _put(Metrics, timed=property(lambda _self: {}), answered=_silence, _on_commit=lambda _self, _commit: _silence)
    await gateway.main()


async def _orchestrator() -> None:
    from orchestrator.app import run  # noqa: PLC0415
    from orchestrator.duties.gauges import Gauges  # noqa: PLC0415
    from orchestrator.metrics import Lifetimes, Metrics  # noqa: PLC0415

    _put(Lifetimes, bounds_s=())
    _put(Metrics, duty_ran=_silence, flushed=_silence)
    _put(Gauges, interval_s=A_DAY_S)
    await run(OrchestratorSettings.load(), StoreSettings.load(), BrokerSettings.load(), TraceSettings.load())


def main() -> None:
    """Run the service."""
    which: Any = {"gateway": _gateway, "orchestrator": _orchestrator}[sys.argv[1]]
    configure_logging(LogSettings.load(), service=sys.argv[1])
    _put(LoopLag, measured=lambda _self: nullcontext())
    _put(Publishes, told=_silence)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(which())


if __name__ == "__main__":
    main()
