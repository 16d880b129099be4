"""Which function runs which job type.

    registry = Registry()
    registry.provide(Database, open_database)

    @registry.handler("resize", timeout_s=30, concurrency=2, retry=Retries(on=(ConnectionError,), delay_s=10))
    async def resize(payload: Resize, ctx: JobContext, db: Database) -> dict[str, int]: ...

A handler takes the payload first, and then what it asks for by type: its context, and what the registry provides. The
payload's annotation (a pydantic model, or anything else pydantic can validate) is its contract: a payload that does not
fit fails the job at once. Async functions run in the event loop, sync ones in threads; `kind="process"` runs one in a
child process, which a timeout or a cancel kills.
"""

import importlib
import inspect
import typing
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeAlias, TypeVar

from pydantic import TypeAdapter

from distriqueue.core.context import JobContext
from distriqueue.core.errors import BadSetting
from distriqueue.core.handler import ATTRIBUTE, handlers_of
from workers.runtime.retries import Retries

Kind = Literal["async", "thread", "process"]
Function = TypeVar("Function", bound=Callable[..., Any])
T = TypeVar("T")
Factory: TypeAlias = Callable[[], AbstractAsyncContextManager[Any]]
"""Opens what handlers ask for by type, as `async with` does."""

Needed: TypeAlias = type[Any]

_ANYTHING: Final = (Any, object, dict, Mapping, dict[str, Any], Mapping[str, Any])
_CONTEXT: Final = (Any, object, JobContext)
_POSITIONAL: Final = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


@dataclass(frozen=True, slots=True)
class Handler:
    """A function and how to run it."""

    type: str
    function: Callable[..., Any]
    kind: Kind
    timeout_s: float | None
    """An upper bound of its own on the job's execution timeout."""
    wants_context: bool
    """As its second parameter; by name it is in `needs`."""
    payload: TypeAdapter[Any] | None
    """How to validate the payload; None takes any object as it is."""
    retry: Retries | None = None
    """Which of its exceptions are worth another attempt; None: all, as the job's own policy says."""
    concurrency: int | None = None
    """How many of them run at once in one worker, at most."""
    needs: Mapping[str, Needed] = field(default_factory=dict)
    """What it is given by name, by type."""

    def parse(self, payload: dict[str, Any]) -> Any:
        """Return what the function takes; pydantic's ValidationError names what is wrong."""
        return payload if self.payload is None else self.payload.validate_python(payload)

    def call(self, argument: Any, ctx: object, given: Mapping[str, Any] | None = None) -> Any:
        """Call the function with what it needs, by name: a coroutine if it is async."""
        if given:
            return self.function(argument, ctx, **given) if self.wants_context else self.function(argument, **given)
        return self.function(argument, ctx) if self.wants_context else self.function(argument)

    @property
    def reference(self) -> str:
        """Where a child process finds the function: `module:qualname`."""
        return f"{self.function.__module__}:{self.function.__qualname__}"


class Registry:
    """The job types that a worker handles. Two handlers for one type are a mistake, and refused."""

    def __init__(self) -> None:
        self._handlers: dict[str, Handler] = {}
        self._factories: dict[type[Any], Factory] = {}

    def handler(
        self,
        type_: str,
        *,
        timeout_s: float | None = None,
        kind: Literal["auto", "async", "thread", "process"] = "auto",
        retry: Retries | None = None,
        concurrency: int | None = None,
    ) -> Callable[[Function], Function]:
        """Register the decorated function for a job type; the function stays as it is.

        `timeout_s` bounds an attempt (so does the job's own timeout), `retry` says which exceptions are worth another
        attempt, and `concurrency` how many attempts of the type run at once in one worker. Raises TypeError or
        ValueError when the function cannot be a handler, or the type has one already.
        """

        def register(function: Function) -> Function:
            handler = describe(type_, function, timeout_s=timeout_s, kind=kind, retry=retry, concurrency=concurrency)
            self.add(handler)
            with suppress(AttributeError):  # a bound method has no attributes of its own: it is known by type only
                setattr(function, ATTRIBUTE, {**handlers_of(function), type_: handler})
            return function

        return register

    def provide(self, type_: type[T], factory: Callable[[], AbstractAsyncContextManager[T]]) -> None:
        """Give handlers what they ask for by this type: opened once per worker, when first needed, closed at its drain.

        `factory` is called in the event loop and returns an async context manager; what that yields is shared by all
        jobs of the worker, also by those in threads. ValueError when the type is provided already.
        """
        if type_ in self._factories:
            raise ValueError(f"{type_.__qualname__} is provided already")
        self._factories[type_] = factory

    def add(self, handler: Handler) -> None:
        """Register a handler; ValueError when its type is taken."""
        if handler.type in self._handlers:
            raise ValueError(
                f"job type {handler.type!r} has a handler already: {self._handlers[handler.type].reference}"
            )
        self._handlers[handler.type] = handler

    def include(self, other: "Registry") -> None:
        """Take over another registry's handlers and what it provides; ValueError when one of them is there already."""
        for handler in other._handlers.values():
            self.add(handler)
        for type_, factory in other._factories.items():
            self.provide(type_, factory)

    def get(self, type_: str) -> Handler | None:
        """Return the type's handler, or None."""
        return self._handlers.get(type_)

    @property
    def types(self) -> list[str]:
        """The job types, sorted."""
        return sorted(self._handlers)

    @property
    def factories(self) -> Mapping[type[Any], Factory]:
        """What is provided, and how."""
        return self._factories

    def check(self) -> None:
        """Raise BadSetting when a handler asks for what nobody provides."""
        for handler in self._handlers.values():
            for name, type_ in handler.needs.items():
                if type_ is not JobContext and type_ not in self._factories:
                    raise BadSetting(
                        f"handler {handler.reference} asks for {name}: {type_.__qualname__}, and nothing provides that:"
                        f" registry.provide({type_.__qualname__}, …) is missing"
                    )


def describe(
    type_: str,
    function: Callable[..., Any],
    *,
    timeout_s: float | None = None,
    kind: str = "auto",
    retry: Retries | None = None,
    concurrency: int | None = None,
) -> Handler:
    """Read a function's signature; TypeError or ValueError says why it cannot be a handler."""
    name = getattr(function, "__qualname__", repr(function))
    if not type_ or len(type_) > 200:
        raise ValueError(f"the job type of {name} must have 1 to 200 characters")
    if timeout_s is not None and timeout_s <= 0:
        raise ValueError(f"timeout_s of {name} must be above 0, not {timeout_s!r}")
    if concurrency is not None and concurrency < 1:
        raise ValueError(f"concurrency of {name} must be at least 1, not {concurrency!r}")
    payload, *others = _parameters(function, name)
    hints = _hints(function, name)
    wants_context = bool(others) and others[0].kind in _POSITIONAL and hints.get(others[0].name, Any) in _CONTEXT
    needs = {p.name: _need(p, hints, name) for p in others[wants_context:]}
    kind_ = _kind(function, kind, name)
    if kind_ == "process" and any(needed is not JobContext for needed in needs.values()):
        raise TypeError(f"handler {name} runs in a child process, which is given nothing: let it open what it needs")
    hint = hints.get(payload.name, Any)
    return Handler(
        type=type_,
        function=function,
        kind=kind_,
        timeout_s=timeout_s,
        wants_context=wants_context,
        payload=None if hint in _ANYTHING else TypeAdapter(hint),
        retry=retry,
        concurrency=concurrency,
        needs=needs,
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


def _parameters(function: Callable[..., Any], name: str) -> list[inspect.Parameter]:
    """Return the parameters that have to be given, the payload's first."""
    required = [
        p
        for p in inspect.signature(function).parameters.values()
        if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
    ]
    if not required or required[0].kind not in _POSITIONAL:
        raise TypeError(f"handler {name} must take (payload), (payload, ctx), or these and what it needs by type")
    return required


def _need(parameter: inspect.Parameter, hints: Mapping[str, Any], name: str) -> type[Any]:
    hint = hints.get(parameter.name)
    if not isinstance(hint, type):
        raise TypeError(f"handler {name} must say by a class what it wants as {parameter.name}, not {hint!r}")
    if hint in (dict, list, str, bytes, int, float, bool, object):
        raise TypeError(
            f"handler {name} must take (payload) or (payload, ctx); {parameter.name}: {hint.__name__} is neither"
        )
    if parameter.kind is parameter.POSITIONAL_ONLY:
        raise TypeError(f"handler {name} is given {parameter.name} by its name: it must not be positional-only")
    return hint


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


def _hints(function: Callable[..., Any], name: str) -> Mapping[str, Any]:
    try:
        return typing.get_type_hints(function, include_extras=True)
    except NameError as exc:
        raise TypeError(f"the annotations of handler {name} cannot be read: {exc}") from exc
