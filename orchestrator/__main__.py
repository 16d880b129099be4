"""`python -m orchestrator`: one node, configured by `DISTRIQUEUE_*`."""

import sys

import uvloop

from distriqueue.core.errors import BadSetting
from distriqueue.settings import BrokerSettings, LogSettings, OrchestratorSettings, StoreSettings, TraceSettings
from distriqueue.telemetry import configure_logging
from orchestrator.app import run
from orchestrator.cluster.storage import StorageFailed


def main() -> int:
    """Run until SIGTERM and return the exit code; 2: a setting is wrong, 1: the disk cannot be trusted."""
    code = 0
    try:
        configure_logging(LogSettings.load(), service="orchestrator")
        uvloop.run(run(OrchestratorSettings.load(), StoreSettings.load(), BrokerSettings.load(), TraceSettings.load()))
    except* BadSetting as group:  # from the start itself, or from a loop that Postgres or the broker told so
        sys.stderr.write(f"orchestrator: {_first(group)}\n")
        code = 2
    except* StorageFailed as group:
        sys.stderr.write(f"orchestrator: {_first(group)}\n")
        code = 1
    return code


def _first(error: BaseException) -> BaseException:
    return _first(error.exceptions[0]) if isinstance(error, BaseExceptionGroup) else error


if __name__ == "__main__":
    sys.exit(main())
