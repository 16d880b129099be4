"""Runs the jobs of a board by a registry's handlers, one at a time, as a worker would."""

import asyncio
import traceback
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import Any, Final, Protocol

from pydantic import ValidationError
from pydantic_core import PydanticSerializationError, from_json, to_json

from distriqueue.core.errors import Discard, HandlerSignal
from distriqueue.core.job import DEFAULT_EXECUTION_TIMEOUT_S
from distriqueue.core.states import Status
from distriqueue.sdk.models import ErrorSnapshot
from distriqueue.testing.board import Board, Entry
from distriqueue.testing.context import LocalContext

MOST_ATTEMPTS: Final = 10_000
"""A test that needs more has jobs that make jobs for ever."""
HANDLER_ERRORS: Final = (Exception, SystemExit)
"""Not Ctrl-C: here it is meant for the test."""


class Policy(Protocol):
    """Which of a handler's exceptions are worth another attempt."""

    def allows(self, exc: BaseException) -> bool:
        """Tell whether another attempt may help."""


class Handler(Protocol):
    """A worker's handler, as far as it takes to run it."""

    @property
    def kind(self) -> str:
        """`async`, or how else it is run."""

    @property
    def timeout_s(self) -> float | None:
        """Its own bound on an attempt."""

    @property
    def retry(self) -> Any:
        """A `Policy`, or None."""

    @property
    def needs(self) -> Mapping[str, type[Any]]:
        """What it is given by name, by type."""

    def parse(self, payload: dict[str, Any]) -> Any:
        """Return what the function takes; ValidationError."""

    def call(self, argument: Any, ctx: object, given: Mapping[str, Any] | None = None) -> Any:
        """Call the function."""


class Handlers(Protocol):
    """A worker's registry, as far as it takes to run its handlers."""

    @property
    def types(self) -> list[str]:
        """The job types."""

    @property
    def factories(self) -> Mapping[type[Any], Callable[[], AbstractAsyncContextManager[Any]]]:
        """What it provides to handlers, by type."""

    def get(self, type_: str) -> Any:
        """Return a type's `Handler`, or None."""


async def run(board: Board, handlers: Handlers) -> None:
    """Run until nothing is left that could be; AssertionError after MOST_ATTEMPTS attempts."""
    async with AsyncExitStack() as stack:
        provided: dict[type[Any], Any] = {}
        for _ in range(MOST_ATTEMPTS):
            entry = board.next()
            if entry is None:
                return
            handler: Handler | None = handlers.get(entry.job.type)
            given: dict[str, Any] = {}
            for name, type_ in ({} if handler is None else handler.needs).items():
                if type_ in handlers.factories and type_ not in provided:
                    provided[type_] = await stack.enter_async_context(handlers.factories[type_]())
                given[name] = provided.get(type_)  # None: what nobody provides is the context
            await _attempt(board, entry, handler, given, known=handlers.types)
    raise AssertionError(f"not idle after {MOST_ATTEMPTS} attempts: do jobs here submit jobs without end?")


async def _attempt(
    board: Board, entry: Entry, handler: Handler | None, given: Mapping[str, Any], *, known: list[str]
) -> None:
    job = entry.job
    if handler is None:
        board.move(entry, Status.RUNNING)
        said = f"no handler for type {job.type!r}; this registry has: {', '.join(known) or 'none'}"
        _fail(board, entry, ErrorSnapshot(message=said, type="unknown_job_type"), again=False)
        return
    bounds = (job.execution_timeout or DEFAULT_EXECUTION_TIMEOUT_S, handler.timeout_s)
    timeout_s = min(bound for bound in bounds if bound is not None)
    attempt = job.attempt + 1 if job.status is Status.RETRYING else job.attempt
    context = LocalContext(
        job.id, attempt, job.type, timeout_s=timeout_s, parents=board.parents(entry), resume=entry.checkpoint
    )
    board.move(entry, Status.RUNNING, attempt=attempt, error=None)
    entry.cause = None
    try:
        await _call(board, entry, handler, context, given)
    finally:
        entry.checkpoint = context.left
        entry.progress += context.said
        entry.logs += context.lines


async def _call(board: Board, entry: Entry, handler: Handler, context: LocalContext, given: Mapping[str, Any]) -> None:
    try:
        payload = handler.parse(dict(entry.job.payload or {}))
    except ValidationError as exc:
        entry.cause = exc
        _fail(board, entry, ErrorSnapshot(message=str(exc), type="invalid_payload"), again=False)
        return
    limit = asyncio.timeout(context.remaining_s)
    try:
        async with limit:
            value = await _called(handler, payload, context, given)
    except HANDLER_ERRORS as exc:
        entry.cause = exc
        if limit.expired():
            error = ErrorSnapshot(message="the attempt ran out of its time", type="timeout")
            _fail(board, entry, error, again=True, status=Status.TIMEOUT)
        else:
            _fail(board, entry, _error(exc), again=_worth_another(exc, handler.retry))
        return
    try:
        result = from_json(to_json(value, inf_nan_mode="null"))
    except (PydanticSerializationError, ValueError, TypeError, RecursionError) as exc:
        entry.cause = exc
        said = f"the handler's result is not JSON: {exc}"
        _fail(board, entry, ErrorSnapshot(message=said, type="result_not_json"), again=False)
        return
    board.move(entry, Status.COMPLETED, result=result)


async def _called(handler: Handler, payload: Any, context: LocalContext, given: Mapping[str, Any]) -> Any:
    given = {name: context if value is None else value for name, value in given.items()}
    if handler.kind == "async":
        return await handler.call(payload, context, given)
    return await asyncio.to_thread(handler.call, payload, context, given)


def _worth_another(exc: BaseException, policy: Policy | None) -> bool:
    if isinstance(exc, HandlerSignal):
        return not isinstance(exc, Discard)
    return policy is None or policy.allows(exc)


def _error(exc: BaseException) -> ErrorSnapshot:
    if isinstance(exc, HandlerSignal):
        return ErrorSnapshot(message=exc.message, type=exc.code)
    said = "".join(traceback.format_exception(exc))
    return ErrorSnapshot(message=str(exc) or type(exc).__name__, type=type(exc).__name__, traceback=said)


def _fail(board: Board, entry: Entry, error: ErrorSnapshot, *, again: bool, status: Status = Status.FAILED) -> None:
    entry.tries += 1
    failures = entry.job.failures + 1
    if again and entry.tries <= entry.job.max_retries:
        board.move(entry, Status.RETRYING, error=error, failures=failures)
    else:
        board.move(entry, status, error=error, failures=failures)
