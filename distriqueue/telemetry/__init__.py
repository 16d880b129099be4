"""What a process says of itself: its logs, and in `metrics` and `tracing`, which only their users import, the rest."""

from distriqueue.telemetry.logs import configure_logging, get_logger

__all__ = ["configure_logging", "get_logger"]
