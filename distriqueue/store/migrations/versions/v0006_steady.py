"""Plans that do not change."""

from distriqueue.store.migrations.files import run_file

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Let the log's trigger plan for itself."""
    run_file("0006_steady.sql")
