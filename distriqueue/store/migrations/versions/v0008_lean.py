"""Less work and log for each job, and for its deletion."""

from distriqueue.store.migrations.files import run_file

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Judge steps once they are done, and forget what goes with jobs for all that a statement deletes."""
    run_file("0008_lean.sql")
