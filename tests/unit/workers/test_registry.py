"""Registering handlers."""

import contextlib
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest
from pydantic import ValidationError

from distriqueue.core.errors import BadSetting
from tests.unit.workers import samples
from workers import JobContext, Registry
from workers.handlers import default_registry
from workers.handlers.registry import describe, load_attribute


async def an_async(payload: dict[str, Any]) -> None:
    """An async handler."""


def a_sync(payload: samples.Amount, ctx: object) -> None:
    """A sync one, that wants its context."""


def a_greedy_one(payload: samples.Amount, gates: samples.Gates, *, ctx: JobContext, more: Registry) -> None:
    """One that needs things."""


async def a_bare_one(payload, ctx) -> None:  # type: ignore[no-untyped-def]
    """One without annotations."""


@contextlib.asynccontextmanager
async def gates() -> AsyncIterator[samples.Gates]:
    """Provide gates."""
    yield samples.Gates()


def test_what_a_handler_needs_is_what_its_other_parameters_say() -> None:
    handler = describe("a", a_greedy_one)
    assert not handler.wants_context
    assert dict(handler.needs) == {"gates": samples.Gates, "ctx": JobContext, "more": Registry}
    assert not describe("b", a_sync).needs
    bare = describe("c", a_bare_one)
    assert (bare.wants_context, bare.payload, dict(bare.needs)) == (True, None, {})


def test_a_thing_is_provided_once_and_goes_with_its_registry() -> None:
    registry, other = Registry(), Registry()
    registry.handler("a")(a_greedy_one)
    with pytest.raises(BadSetting, match="gates: Gates"):
        registry.check()
    other.provide(samples.Gates, gates)
    with pytest.raises(ValueError, match="Gates is provided already"):
        other.provide(samples.Gates, gates)
    registry.include(other)
    with pytest.raises(BadSetting, match="more: Registry"):
        registry.check()
    assert registry.factories == {samples.Gates: gates}


def test_auto_means_loop_for_async_and_thread_for_sync() -> None:
    assert describe("a", an_async).kind == "async"
    assert describe("b", a_sync).kind == "thread"
    assert describe("b", a_sync, kind="process").kind == "process"


def test_the_payload_is_what_the_first_parameter_says() -> None:
    handler = describe("b", a_sync)
    assert handler.wants_context
    assert handler.parse({"amount": "3"}) == samples.Amount(amount=3)
    with pytest.raises(ValidationError):
        handler.parse({"amount": -1})


def test_a_dict_is_taken_as_it_is() -> None:
    payload = {"any": object()}
    assert describe("a", an_async).parse(payload) is payload


def test_a_decorated_function_stays_what_it_was() -> None:
    registry = Registry()
    assert registry.handler("a")(an_async) is an_async
    assert registry.types == ["a"]


def test_a_type_has_one_handler() -> None:
    registry, other = Registry(), Registry()
    registry.handler("a")(an_async)
    other.handler("a")(an_async)
    with pytest.raises(ValueError, match="'a' has a handler already"):
        registry.handler("a")(a_sync)
    with pytest.raises(ValueError, match="'a' has a handler already"):
        registry.include(other)


def test_include_takes_over_all() -> None:
    registry = default_registry()
    registry.include(samples.PROCESSES)
    assert {"calculate", "transform", "validate", "child_pid"} <= set(registry.types)


def test_registries_share_nothing() -> None:
    default_registry().handler("a")(an_async)
    assert default_registry().types == ["calculate", "transform", "validate"]


def test_what_cannot_be_a_handler_is_refused_with_a_reason() -> None:
    def nothing() -> None: ...
    def three(a: int, b: int, c: int) -> None: ...
    def keyword(a: int, *, b: int) -> None: ...
    def local(payload: Mapping[str, Any]) -> None: ...
    def unreadable(payload: "Nowhere") -> None: ...  # type: ignore[name-defined] # noqa: F821

    def unsaid(payload: dict[str, Any], ctx: JobContext, db) -> None: ...  # type: ignore[no-untyped-def]
    def by_place(payload: dict[str, Any], db: samples.Gates, /) -> None: ...

    for function in (nothing, three, keyword):
        with pytest.raises(TypeError, match="must take"):
            describe("a", function)
    with pytest.raises(TypeError, match="importable by name"):
        describe("a", local, kind="process")
    with pytest.raises(TypeError, match="cannot be read"):
        describe("a", unreadable)
    with pytest.raises(TypeError, match="not async"):
        describe("a", local, kind="async")
    with pytest.raises(TypeError, match="plain function"):
        describe("a", an_async, kind="thread")
    with pytest.raises(ValueError, match="kind"):
        describe("a", local, kind="fiber")
    with pytest.raises(TypeError, match="must say by a class what it wants as db"):
        describe("a", unsaid)
    with pytest.raises(TypeError, match="positional-only"):
        describe("a", by_place)
    with pytest.raises(TypeError, match="is given nothing"):
        describe("a", a_greedy_one, kind="process")
    with pytest.raises(ValueError, match="concurrency"):
        describe("a", local, concurrency=0)
    with pytest.raises(ValueError, match="timeout_s"):
        describe("a", local, timeout_s=0)
    with pytest.raises(ValueError, match="1 to 200"):
        describe("", local)


@pytest.mark.parametrize(
    ("reference", "said"),
    [("nonsense", "module:name"), ("no.such:thing", "cannot import"), ("workers:nothing", "has no 'nothing'")],
)
def test_a_wrong_reference_names_what_is_missing(reference: str, said: str) -> None:
    with pytest.raises(BadSetting, match=said):
        load_attribute(reference)
