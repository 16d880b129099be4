"""What handlers leave behind: checkpoints, and lines of their jobs' logs."""

from distriqueue.store.migrations.files import run_file

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Add both, to a database that holds jobs."""
    run_file("0004_handlers.sql")
