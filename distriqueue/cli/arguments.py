"""Values that take more than a word: payloads, and times."""

import json
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import typer

from distriqueue.core.errors import BadSetting
from distriqueue.filterlang.times import age_s, rfc3339

MAX_BYTES: Final = 64 * 1024 * 1024
"""What is read of a payload; the gateway's own bound is lower, and says so."""


def job_id(text: str) -> UUID:
    """Read the id of a job."""
    return _uuid(text, "job", "`distriqueue jobs list` shows them")


def batch_id(text: str) -> UUID:
    """Read the id of a batch."""
    return _uuid(text, "batch", "`distriqueue batches list` shows them")


def webhook_id(text: str) -> UUID:
    """Read the id of a webhook."""
    return _uuid(text, "webhook", "`distriqueue webhooks list JOB` shows them")


def payload_of(text: str | None, *, option: str = "--payload") -> dict[str, Any]:
    """Read `{…}`, `@file.json` or `-` (standard input); BadSetting says what is wrong, and where."""
    if text is None:
        return {}
    where = " in standard input" if text in ("-", "@-") else f" in {text[1:]}" if text.startswith("@") else ""
    try:
        found = json.loads(_read(text, option))
    except json.JSONDecodeError as exc:
        quotes = "" if where else " (in a shell, put it into single quotes)"
        raise BadSetting(f"{option}: no JSON{where}: {exc.msg}, line {exc.lineno} column {exc.colno}{quotes}") from exc
    except (UnicodeDecodeError, RecursionError) as exc:
        raise BadSetting(f"{option}: no JSON{where}: {exc}") from exc
    if not isinstance(found, dict):
        kind = {list: "an array", str: "a string", bool: "a boolean", type(None): "null"}.get(type(found), "a number")
        raise BadSetting(f'{option}: must be an object such as {{"numbers": [1, 2]}}, not {kind}{where}')
    return found


def moment_of(text: str | None, option: str) -> str | None:
    """Read a time (RFC 3339 with an offset), or how long from now (`10m`); BadSetting."""
    return _moment(text, option, sign=1, otherwise="how long from now, such as 10m")


def past_of(text: str | None, option: str) -> str | None:
    """Read a time (RFC 3339 with an offset), or how long ago (`2h`); BadSetting."""
    return _moment(text, option, sign=-1, otherwise="how long ago, such as 2h")


def seconds_of(text: str | None, option: str) -> float | None:
    """Read `90`, `90s`, `5m`; BadSetting."""
    if text is None:
        return None
    seconds = age_s(text if text[-1:].isalpha() else f"{text}s")
    if not seconds:
        raise BadSetting(f"{option} must be seconds, or a number and s, m, h, d or w, such as 90 or 5m, not {text!r}")
    return float(seconds)


def _uuid(text: str, what: str, where: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is no id of a {what}, which is a UUID: {where}") from None


def _moment(text: str | None, option: str, *, sign: int, otherwise: str) -> str | None:
    if text is None:
        return None
    seconds = age_s(text)
    if seconds is not None:
        return rfc3339(datetime.now(UTC) + sign * timedelta(seconds=seconds))
    try:
        at = datetime.fromisoformat(text)
        if at.tzinfo is None:
            raise ValueError("it has no offset")
        return rfc3339(at)
    except (ValueError, OverflowError) as exc:
        raise BadSetting(
            f"{option} must be a time with its offset, such as 2030-01-31T12:00:00Z, or {otherwise}, not {text!r}"
        ) from exc


def _read(text: str, option: str) -> str:
    if text in ("-", "@-"):
        return sys.stdin.read(MAX_BYTES)
    if not text.startswith("@"):
        return text
    file = Path(text[1:])
    try:
        if file.stat().st_size > MAX_BYTES:
            raise BadSetting(f"{option}: {file} is larger than {MAX_BYTES // 1024 // 1024} MiB")
        return file.read_text(encoding="utf-8")
    except OSError as exc:
        raise BadSetting(f"{option}: cannot read {file} ({exc.strerror})") from exc
