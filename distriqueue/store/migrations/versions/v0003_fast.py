"""Less work for each job."""

from distriqueue.store.migrations.files import run_file

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Change functions and indexes, of a database that holds jobs."""
    run_file("0003_fast.sql")
