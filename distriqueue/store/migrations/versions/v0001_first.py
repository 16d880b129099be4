"""The first schema."""

from distriqueue.store.migrations.files import run_file

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create everything."""
    run_file("0001_first.sql")
