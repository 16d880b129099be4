"""Traces."""

from distriqueue.store.migrations.files import run_file

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Let jobs belong to a trace."""
    run_file("0007_trace.sql")
