"""What a registered handler's function says of itself, to those who may not import the worker.

    @registry.handler("resize")
    async def resize(payload: Resize, ctx: JobContext) -> None: ...

    handler_of(resize).type                      # "resize"
    payload_of(handler_of(resize), Resize(...))  # what is sent, checked as the worker will check it

The decorator hangs the handler on its function as `__distriqueue__`. A function that is registered for several types
has several, and does not say which of them is meant.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

from pydantic import TypeAdapter
from pydantic_core import PydanticSerializationError, to_jsonable_python

from distriqueue.core.errors import InvalidRequest

ATTRIBUTE: Final = "__distriqueue__"


class JobHandler(Protocol):
    """A handler, as far as it matters to who submits jobs for it."""

    @property
    def type(self) -> str:
        """The job type."""

    @property
    def payload(self) -> TypeAdapter[Any] | None:
        """The payload's contract; None takes any object."""


def handlers_of(function: Callable[..., Any]) -> Mapping[str, JobHandler]:
    """Return the handlers that the function is registered as, by job type: none, one or several."""
    found: Mapping[str, JobHandler] = getattr(function, ATTRIBUTE, {})
    return found


def handler_of(function: Callable[..., Any]) -> JobHandler:
    """Return the one handler that the function is registered as; TypeError when there is none, or more than one."""
    found = list(handlers_of(function).values())
    if len(found) == 1:
        return found[0]
    name = getattr(function, "__qualname__", repr(function))
    if not found:
        raise TypeError(f"{name} is no handler: decorate it with @registry.handler(…), or submit by the job's type")
    types = ", ".join(sorted(handler.type for handler in found))
    raise TypeError(f"{name} handles several job types ({types}): submit by the one that is meant")


def payload_of(handler: JobHandler, payload: object) -> dict[str, Any]:
    """Return the payload as the JSON object that is sent: a model, a dataclass or a mapping.

    Raises InvalidRequest when it is none of these, and pydantic's ValidationError when the handler would not take it.
    """
    try:
        sent = to_jsonable_python(payload, by_alias=True)
    except (PydanticSerializationError, ValueError) as exc:
        raise InvalidRequest(f"the payload for {handler.type!r} is not JSON: {exc}") from exc
    if not isinstance(sent, dict):
        raise InvalidRequest(f"the payload for {handler.type!r} must be an object, not {type(payload).__name__}")
    if handler.payload is not None:
        handler.payload.validate_python(sent)
    return sent
