"""The tables that lists go by, for SQLAlchemy Core, and statements as text for the driver's own pool."""

from typing import Any, Final

from sqlalchemy import DateTime, Dialect, Float, Integer, SelectBase, Text, Uuid, column, table
from sqlalchemy.dialects.postgresql import ARRAY, asyncpg

_DIALECT: Final[Dialect] = asyncpg.dialect()  # type: ignore[no-untyped-call]

jobs: Final = table(
    "jobs",
    column("id", Uuid),
    column("type", Text),
    column("priority", Text),
    column("status", Text),
    column("attempt", Integer),
    column("failures", Integer),
    column("losses", Integer),
    column("max_retries", Integer),
    column("execution_timeout_s", Float),
    column("cancel_requested", Text),
    column("worker_id", Text),
    column("progress", Float),
    column("progress_message", Text),
    column("created_at", DateTime(timezone=True)),
    column("ready_at", DateTime(timezone=True)),
    column("due_at", DateTime(timezone=True)),
    column("expires_at", DateTime(timezone=True)),
    column("queued_at", DateTime(timezone=True)),
    column("started_at", DateTime(timezone=True)),
    column("finished_at", DateTime(timezone=True)),
    column("batch_id", Uuid),
    column("schedule_name", Text),
    column("schedule_fire_at", DateTime(timezone=True)),
    column("unique_key", Text),
    column("concurrency_key", Text),
    column("concurrency_limit", Integer),
    column("callback_url", Text),
    column("has_parents", Text),
    column("tags", ARRAY(Text)),
    column("retry_policy", Text),
    column("metadata", Text),
    column("fingerprint", Text),
    column("payload", Text),
    column("result", Text),
    column("error", Text),
)

job_listing: Final = table(
    "job_listing",
    column("created_at", DateTime(timezone=True)),
    column("id", Uuid),
    column("type", Text),
    column("priority", Text),
    column("schedule_name", Text),
)

job_tags: Final = table(
    "job_tags",
    column("tag", Text),
    column("created_at", DateTime(timezone=True)),
    column("id", Uuid),
)


def compiled(statement: SelectBase) -> tuple[str, list[Any]]:
    """Return a Core statement as `$1`-style SQL and its arguments in order."""
    form = statement.compile(dialect=_DIALECT, compile_kwargs={"render_postcompile": True})
    return str(form), [form.params[name] for name in form.positiontup or ()]
