"""What parent and child process say to each other: frames of a JSON header and raw bytes. Data only, never code."""

import struct
from collections.abc import Sequence
from typing import Any, Final

import orjson

from distriqueue.core.messages import Dispatch, ReportStatus
from workers.runtime.joblog import Line
from workers.runtime.outcome import Outcome
from workers.runtime.pending import NOTHING, Granted

LENGTHS: Final = struct.Struct("!II")
"""The sizes of header and body, in bytes."""


def frame(kind: str, body: bytes = b"", **fields: object) -> bytes:
    """Return one frame."""
    header = orjson.dumps({"kind": kind, **fields})
    return LENGTHS.pack(len(header), len(body)) + header + body


def job_frame(
    reference: str, timeout_s: float, path: list[str], dispatch: Dispatch, granted: Granted = NOTHING
) -> bytes:
    """The parent hands the child an attempt: where its function is, its payload, and what its claim brought."""
    return frame(
        "job",
        dispatch.encode(),
        reference=reference,
        timeout_s=timeout_s,
        path=path,
        parents=granted.parents,
        resume=granted.checkpoint,
    )


def news_frame(lines: Sequence[Line], checkpoint: bytes | None) -> bytes:
    """The child tells what its handler wrote to the job's log, and its newest checkpoint."""
    return frame("news", checkpoint or b"", lines=lines, has_checkpoint=checkpoint is not None)


def read_news(header: dict[str, Any], body: bytes) -> tuple[list[Line], bytes | None]:
    """Read what `news_frame` wrote."""
    return header["lines"], body if header["has_checkpoint"] else None


def end_frame(outcome: Outcome) -> bytes:
    """The child says how the attempt ended."""
    return frame(
        "end",
        outcome.result or b"",
        status=outcome.status.value,
        has_result=outcome.result is not None,
        error_message=outcome.error_message,
        error_type=outcome.error_type,
        traceback=outcome.traceback,
        retryable=outcome.retryable,
        retry_after_s=outcome.retry_after_s,
    )


def read_end(header: dict[str, Any], body: bytes) -> Outcome:
    """Read what `end_frame` wrote."""
    return Outcome(
        ReportStatus(header["status"]),
        body if header["has_result"] else None,
        header["error_message"],
        header["error_type"],
        header["traceback"],
        header["retryable"],
        header["retry_after_s"],
    )
