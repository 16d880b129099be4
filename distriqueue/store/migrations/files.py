"""Runs a migration's SQL file whole, in Alembic's transaction."""

from importlib.resources import files
from typing import Any

from alembic import op


def run_file(name: str) -> None:
    """Execute `versions/<name>` as a script: it may hold many statements, and a prepared statement holds one."""
    script = files("distriqueue.store.migrations").joinpath("versions", name).read_text("utf-8")
    op.execute("SELECT 1")  # opens the driver's transaction, which the script must share
    connection: Any = op.get_bind().connection.dbapi_connection
    connection.run_async(lambda driver: driver.execute(script))
