"""Which function runs which job type.

    registry = Registry()

    @registry.handler("resize", timeout_s=30)
    async def resize(payload: Resize, ctx: JobContext) -> dict[str, int]: ...

A handler takes the payload, and the context if it wants one. The payload's annotation (a pydantic model, or anything
else pydantic can validate) is its contract: a payload that does not fit fails the job at once. Async functions run in
the event loop, sync ones in threads; `kind="process"` runs one in a child process, which a timeout or a cancel kills.
"""

import importlib
import inspect
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from pydantic import TypeAdapter

from distriqueue.core.errors import BadSetting

Kind = Literal["async", "thread", "process"]
Function = TypeVar("Function", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Handler:
    """A function and how to run it."""

    type: str
    function: Callable[..., Any]
    kind: Kind
    timeout_s: float | None
    """An upper bound of its own on the job's execution timeout."""
    wants_context: bool
    payload: TypeAdapter[Any] | None
    """How to validate the payload; None takes any object as it is."""

    def parse(self, payload: dict[str, Any]) -> Any:
        """Return what the function takes; pydantic's ValidationError names what is wrong."""
        return payload if self.payload is None else self.payload.validate_python(payload)

    def call(self, argument: Any, ctx: object) -> Any:
        """Call the function: a coroutine if it is async."""
        return self.function(argument, ctx) if self.wants_context else self.function(argument)

    @property
    def reference(self) -> str:
        """Where a child process finds the function: `module:qualname`."""
        return f"{self.function.__module__}:{self.function.__qualname__}"


class Registry:
    """The job types that a worker handles. Two handlers for one type are a mistake, and refused."""

    def __init__(self) -> None:
        self._handlers: dict[str, Handler] = {}

    def handler(
        self,
        type_: str,
        *,
        timeout_s: float | None = None,
        kind: Literal["auto", "async", "thread", "process"] = "auto",
    ) -> Callable[[Function], Function]:
        """Register the decorated function for a job type; the function stays as it is."""

        def register(function: Function) -> Function:
            self.add(describe(type_, function, timeout_s=timeout_s, kind=kind))
            return function

        return register

    def add(self, handler: Handler) -> None:
        """Register a handler; ValueError when its type is taken."""
        if handler.type in self._handlers:
            raise ValueError(
                f"job type {handler.type!r} has a handler already: {self._handlers[handler.type].reference}"
            )
        self._handlers[handler.type] = handler

    def include(self, other: "Registry") -> None:
        """Take over another registry's handlers; ValueError when a type is taken."""
        for handler in other._handlers.values():
            self.add(handler)

    def get(self, type_: str) -> Handler | None:
        """Return the type's handler, or None."""
        return self._handlers.get(type_)

    @property
    def types(self) -> list[str]:
        """The job types, sorted."""
        return sorted(self._handlers)


def describe(
    type_: str, function: Callable[..., Any], *, timeout_s: float | None = None, kind: str = "auto"
) -> Handler:
    """Read a function's signature; TypeError or ValueError says why it cannot be a handler."""
    name = getattr(function, "__qualname__", repr(function))
    if not type_ or len(type_) > 200:
        raise ValueError(f"the job type of {name} must have 1 to 200 characters")
    if timeout_s is not None and timeout_s <= 0:
        raise ValueError(f"timeout_s of {name} must be above 0, not {timeout_s!r}")
    parameters = list(inspect.signature(function).parameters.values())
    required = [
        p for p in parameters if p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
    ]
    if len(required) not in (1, 2) or any(p.kind is p.KEYWORD_ONLY and p.default is p.empty for p in parameters):
        raise TypeError(f"handler {name} must take (payload) or (payload, ctx)")
    return Handler(
        type=type_,
        function=function,
        kind=_kind(function, kind, name),
        timeout_s=timeout_s,
        wants_context=len(required) == 2,
        payload=_adapter(function, required[0].name, name),
    )


def load_attribute(reference: str) -> Any:
    """Import `module:qualname`; BadSetting says what is missing."""
    module_name, _, path = reference.partition(":")
    if not module_name or not path:
        raise BadSetting(f"{reference!r} is not of the form module:name")
    try:
        found: Any = importlib.import_module(module_name)
    except ImportError as exc:
        raise BadSetting(f"cannot import {module_name!r}: {exc}") from exc
    for name in path.split("."):
        try:
            found = getattr(found, name)
        except AttributeError:
            raise BadSetting(f"module {module_name!r} has no {path!r}") from None
    return found


def _kind(function: Callable[..., Any], kind: str, name: str) -> Kind:
    is_async = inspect.iscoroutinefunction(function)
    match kind:
        case "auto":
            return "async" if is_async else "thread"
        case "async" if not is_async:
            raise TypeError(f"handler {name} is not async; kind='async' needs `async def`")
        case "thread" if is_async:
            raise TypeError(f"handler {name} is async and runs in the loop; kind='thread' needs a plain function")
        case "process" if "<" in getattr(function, "__qualname__", "<") or function.__module__ == "__main__":
            raise TypeError(f"handler {name} must be importable by name to run in a child process")
        case "async" | "thread" | "process":
            return kind
        case _:
            raise ValueError(f"kind of {name} must be auto, async, thread or process, not {kind!r}")


def _adapter(function: Callable[..., Any], parameter: str, name: str) -> TypeAdapter[Any] | None:
    try:
        hint = typing.get_type_hints(function, include_extras=True).get(parameter, Any)
    except NameError as exc:
        raise TypeError(f"the annotations of handler {name} cannot be read: {exc}") from exc
    if hint in (Any, object, dict, Mapping, dict[str, Any], Mapping[str, Any]):
        return None
    return TypeAdapter(hint)
