"""Calling a handler: the one place where its exceptions are met, in the loop, in a thread and in a child process."""

import asyncio
from collections.abc import Mapping
from typing import Any

import structlog
from pydantic import ValidationError

from distriqueue.core.messages import Dispatch
from distriqueue.telemetry.tracing import trace_id
from workers.handlers.registry import Handler
from workers.runtime.context import AttemptContext
from workers.runtime.outcome import HANDLER_ERRORS, INTERRUPTED, Outcome, completed, invalid_payload, raised


async def call_async(
    handler: Handler, dispatch: Dispatch, context: AttemptContext, given: Mapping[str, Any] | None = None
) -> Outcome:
    """Run an async handler to its end; INTERRUPTED when it was cancelled, by us or by itself."""
    _name_in_log(dispatch)
    try:
        payload = handler.parse(dispatch.payload)
    except ValidationError as exc:
        return invalid_payload(exc)
    except HANDLER_ERRORS as exc:  # a validator of the model is the handler's code too
        return raised(exc)
    try:
        return completed(await handler.call(payload, context, given))
    except asyncio.CancelledError:  # whoever cancels looks at what comes of it
        return INTERRUPTED
    except HANDLER_ERRORS as exc:
        return raised(exc, handler.retry, attempt=dispatch.attempt)


def call_sync(
    handler: Handler, dispatch: Dispatch, context: AttemptContext, given: Mapping[str, Any] | None = None
) -> Outcome:
    """Run a sync handler to its end."""
    _name_in_log(dispatch)
    try:
        payload = handler.parse(dispatch.payload)
    except ValidationError as exc:
        return invalid_payload(exc)
    except HANDLER_ERRORS as exc:  # a validator of the model is the handler's code too
        return raised(exc)
    try:
        return completed(handler.call(payload, context, given))
    except asyncio.CancelledError:
        return INTERRUPTED
    except HANDLER_ERRORS as exc:
        return raised(exc, handler.retry, attempt=dispatch.attempt)


def _name_in_log(dispatch: Dispatch) -> None:
    """Let all that the handler logs say whose it is."""
    structlog.contextvars.bind_contextvars(job_id=str(dispatch.job_id), attempt=dispatch.attempt)
    if dispatch.trace is not None:
        structlog.contextvars.bind_contextvars(trace_id=trace_id(dispatch.trace))
