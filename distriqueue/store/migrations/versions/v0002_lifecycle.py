"""The whole life of a job: deadlines, keys, graphs, batches, limits, webhooks; and who may do what."""

from typing import Final

from distriqueue.store.migrations.files import run_file

revision = "0002"
down_revision = "0001"

FILES: Final = ("0002_lifecycle.sql", "0002_reads.sql", "0002_access.sql")


def upgrade() -> None:
    """Add what is missing, to a database that holds jobs."""
    for name in FILES:
        run_file(name)
