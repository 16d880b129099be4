"""What this installation has for itself: the secret that browsers' sessions are signed with."""

from distriqueue.store.migrations.files import run_file

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Add it, and draw the secret."""
    run_file("0005_installation.sql")
