"""What a registered function says of itself to who submits jobs for it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pytest
from pydantic import BaseModel, Field, ValidationError

from distriqueue.core.errors import InvalidRequest
from distriqueue.core.handler import handler_of, handlers_of, payload_of
from workers import Registry


class Resize(BaseModel):
    width: int = Field(ge=1, alias="widthPx")
    at: datetime | None = None


@dataclass
class Sum:
    numbers: list[int]


def registered(*types: str, annotation: object = Resize) -> Any:
    async def run(payload: Any) -> None: ...

    run.__annotations__["payload"] = annotation
    for type_ in types:
        Registry().handler(type_)(run)
    return run


def test_a_function_carries_its_type_and_payload() -> None:
    handler = handler_of(registered("resize"))
    assert handler.type == "resize"
    assert payload_of(handler, Resize(widthPx=3)) == {"widthPx": 3, "at": None}
    assert payload_of(handler, {"widthPx": 3}) == {"widthPx": 3}


def test_what_is_sent_is_json() -> None:
    sent = payload_of(handler_of(registered("resize")), {"widthPx": 1, "at": datetime(2026, 1, 1)})  # noqa: DTZ001
    assert sent == {"widthPx": 1, "at": "2026-01-01T00:00:00"}
    assert payload_of(handler_of(registered("sum", annotation=Sum)), Sum([1, 2])) == {"numbers": [1, 2]}
    free = handler_of(registered("any", annotation=Mapping[str, Any]))
    assert payload_of(free, {"any": [1]}) == {"any": [1]}


def test_what_the_handler_would_refuse_is_not_sent() -> None:
    handler = handler_of(registered("resize"))
    with pytest.raises(ValidationError, match="widthPx"):
        payload_of(handler, {"widthPx": 0})
    with pytest.raises(InvalidRequest, match="must be an object, not list"):
        payload_of(handler, [1])
    with pytest.raises(InvalidRequest, match="is not JSON"):
        payload_of(handler, {"widthPx": object()})


def test_who_is_registered_for_none_or_several_types_says_so() -> None:
    def plain() -> None: ...

    with pytest.raises(TypeError, match=r"plain is no handler"):
        handler_of(plain)
    twice = registered("b", "a", "a")
    assert sorted(handlers_of(twice)) == ["a", "b"]
    with pytest.raises(TypeError, match=r"several job types \(a, b\)"):
        handler_of(twice)


def test_a_bound_method_can_be_a_handler_but_carries_nothing() -> None:
    class Service:
        async def run(self, payload: dict[str, Any]) -> None: ...

    registry = Registry()
    run = registry.handler("run")(Service().run)
    assert registry.types == ["run"]
    assert not handlers_of(run)
