"""What parent and child process say to each other: frames of a JSON header and raw bytes. Data only, never code."""

import struct
from typing import Any, Final

import orjson

from distriqueue.core.messages import Dispatch, ReportStatus
from workers.runtime.outcome import Outcome
from workers.runtime.pending import RawParents

LENGTHS: Final = struct.Struct("!II")
"""The sizes of header and body, in bytes."""


def frame(kind: str, body: bytes = b"", **fields: object) -> bytes:
    """Return one frame."""
    header = orjson.dumps({"kind": kind, **fields})
    return LENGTHS.pack(len(header), len(body)) + header + body


def job_frame(reference: str, timeout_s: float, path: list[str], dispatch: Dispatch, parents: RawParents = ()) -> bytes:
    """The parent hands the child an attempt: where its function is, its payload, and how the job's parents ended."""
    return frame("job", dispatch.encode(), reference=reference, timeout_s=timeout_s, path=path, parents=parents)


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
