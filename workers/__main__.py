"""`python -m workers [module:registry]`: one worker process, configured by `DISTRIQUEUE_*`."""

import argparse
import asyncio
import sys

import uvloop

from distriqueue.core.errors import BadSetting
from distriqueue.settings import BrokerSettings, LogSettings, TraceSettings, WebhookSettings, WorkerSettings
from distriqueue.telemetry import configure_logging
from workers.app import run
from workers.handlers import default_registry
from workers.handlers.registry import Registry, load_attribute


def main() -> int:
    """Run until told to stop; 2 after a wrong setting, which is named on stderr."""
    parser = argparse.ArgumentParser(prog="python -m workers", description="Run jobs of DistriQueue.")
    parser.add_argument(
        "registry", nargs="?", metavar="module:registry", help="your handlers; those that ship when absent"
    )
    arguments = parser.parse_args()
    try:
        configure_logging(LogSettings.load(), service="worker")
        registry = load_registry(arguments.registry) if arguments.registry else default_registry()
        settings = WorkerSettings.load()
        if not settings.worker_queues:
            raise BadSetting("DISTRIQUEUE_WORKER_QUEUES: at least one lane is needed")
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(run(settings, BrokerSettings.load(), WebhookSettings.load(), registry, TraceSettings.load()))
    except BadSetting as exc:
        sys.stderr.write(f"{exc}\n")
        return 2
    return 0


def load_registry(reference: str) -> Registry:
    """Import `module:name`, a Registry or a function that makes one; BadSetting says what is wrong."""
    found = load_attribute(reference)
    if not isinstance(found, Registry) and callable(found):
        found = found()
    if not isinstance(found, Registry):
        raise BadSetting(f"{reference!r} is no Registry")
    return found


if __name__ == "__main__":
    sys.exit(main())
