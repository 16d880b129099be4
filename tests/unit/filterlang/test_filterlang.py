"""The filter language: what it means, what it says of mistakes, and that it can be written back."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distriqueue.core.errors import InvalidRequest
from distriqueue.core.job import Priority
from distriqueue.core.states import Status
from distriqueue.filterlang import NOTHING, Field, Filter, WrongFilter, completions, parse, quoted
from distriqueue.filterlang.times import Moment
from gateway.api.actions import ActionFilter
from gateway.api.query import JobListQuery

NOW = datetime(2030, 1, 31, 12, tzinfo=UTC)
BATCH = "0190c2d4-7e3b-7c3a-9c1e-2f4b8a6d5e10"


@pytest.mark.parametrize(
    ("text", "asked"),
    [
        ("", {}),
        ("   ", {}),
        ("status:failed", {"status": ["failed"]}),
        ("STATUS:Failed,timeout status:failed", {"status": ["failed", "timeout"]}),
        ("type:calculate,transform", {"type": ["calculate", "transform"]}),
        ('type:"two words" tag:"a\\"b" tag:c', {"type": ["two words"], "tag": ['a"b', "c"]}),
        ("type:image:resize", {"type": ["image:resize"]}),
        ("priority:high,LOW", {"priority": ["HIGH", "LOW"]}),
        ("worker:worker1.3f9a1c", {"worker": "worker1.3f9a1c"}),
        (f"batch:{BATCH.upper()}", {"batch": BATCH}),
        ('schedule:"every night"', {"schedule": "every night"}),
        ("created:<2h", {"createdFrom": "2030-01-31T10:00:00Z"}),
        ("created:<=2H", {"createdFrom": "2030-01-31T10:00:00Z"}),
        ("created:>1w", {"createdTo": "2030-01-24T12:00:00Z"}),
        ("created:>=2030-01-02", {"createdFrom": "2030-01-02T00:00:00Z"}),
        ("created:>2030-01-02", {"createdFrom": "2030-01-03T00:00:00Z"}),
        ("created:<2030-01-02", {"createdTo": "2030-01-02T00:00:00Z"}),
        ("created:<=2030-01-02", {"createdTo": "2030-01-03T00:00:00Z"}),
        ("created:2030-01-02", {"createdFrom": "2030-01-02T00:00:00Z", "createdTo": "2030-01-03T00:00:00Z"}),
        (
            "created:2030-01-01..2030-01-03",
            {"createdFrom": "2030-01-01T00:00:00Z", "createdTo": "2030-01-03T00:00:00Z"},
        ),
        ("created:>2030-01-02T03:04", {"createdFrom": "2030-01-02T03:04:00.000001Z"}),
        ("created:>=2030-01-02T03:04:05+02:00", {"createdFrom": "2030-01-02T01:04:05Z"}),
        (
            "created:<1d created:<2h created:>1h",
            {"createdFrom": "2030-01-31T10:00:00Z", "createdTo": "2030-01-31T11:00:00Z"},
        ),
        ("payload.user.id:7", {"payload": ["user.id:7"]}),
        ('payload.userId:7,"a b" PAYLOAD.items.0:x:y', {"payload": ["userId:7", "userId:a b", "items.0:x:y"]}),
        ("connection reset", {"q": "connection reset"}),
        ('"ValueError: no" status:failed', {"q": "ValueError: no", "status": ["failed"]}),
        ("3.5,4 https://a", None),
    ],
)
def test_what_a_filter_asks_for(text: str, asked: dict[str, Any] | None) -> None:
    if asked is None:
        with pytest.raises(WrongFilter, match=r"there is no field 'https'.*free text with a colon goes into quotes"):
            parse(text)
        return
    assert parse(text).selection(NOW) == asked


@pytest.mark.parametrize(
    ("text", "said", "marked", "suggestion"),
    [
        ("stauts:failed", "there is no field 'stauts': did you mean status:?", "stauts:", "status:"),
        ("type:a status:faild", "there is no status 'faild': did you mean failed?", "faild", "failed"),
        ("status:x", "there is no status 'x': there are scheduled, blocked, pending", "x", None),
        ("priority:urgent", "there is no priority 'urgent': there are critical, high, medium, low", "urgent", None),
        ("type:", "`type:` needs a value, such as type:calculate", "type:", None),
        ("status:failed,", "`status:` needs a value", "status:failed,", None),
        ("result.user.id:7", "jobs cannot be filtered by what is in their result", "result.user.id", None),
        ("payload:7", "`payload` takes a path of 1 to 10 names, such as payload.user.id:7", "payload", None),
        ("payload.a..b:7", "`payload` takes a path of 1 to 10 names", "payload.a..b", None),
        (f"payload{'.a' * 11}:7", "`payload` takes a path of 1 to 10 names", f"payload{'.a' * 11}", None),
        ("payload.a:", "`payload:` needs a value, such as payload.user.id:7", "payload.a:", None),
        ('tag:"a b', "this quote is not closed", '"a b', '"a b"'),
        ('tag:"a"b', "a space is missing here", "b", None),
        ("batch:7", "a batch is named by its UUID, not '7'", "7", None),
        ("worker:a worker:b", "`worker:` takes one value, and has another already", "b", None),
        ("created:2h", "`<2h` is in the last 2h, `>2h` longer ago: did you mean <2h?", "2h", "<2h"),
        ("created:yesterday", "'yesterday' is no time: write an age such as <2h", "yesterday", None),
        ("created:2030-01-01T10:00", "say whether before or since", "2030-01-01T10:00", ">=2030-01-01T10:00"),
        ("created:>1900-01-01", "'1900-01-01' is before 1970", ">1900-01-01", None),
        ("created:<99999999w", "is no time", "<99999999w", None),
        ("created:..2030-01-01", "'' is no time", "..2030-01-01", None),
        (f"type:{'x' * 201}", "a type has at most 200 characters", "x" * 201, None),
        (f"{'x' * 201}", "free text has at most 200 characters", "x" * 201, None),
        (f"type:{','.join(map(str, range(51)))}", "`type:` takes at most 50 values", "50", None),
        (f"{'x ' * 2_001}", "a filter has at most 4,000 characters", "x ", None),
    ],
)
def test_what_it_says_of_a_mistake_and_where(text: str, said: str, marked: str, suggestion: str | None) -> None:
    with pytest.raises(WrongFilter) as wrong:
        parse(text)
    assert said in wrong.value.message
    assert text[wrong.value.start : wrong.value.end] == marked
    assert wrong.value.suggestion == suggestion
    if suggestion is not None:
        assert parse(text[: wrong.value.start] + suggestion + text[wrong.value.end :])


def test_the_place_is_shown_under_the_text() -> None:
    with pytest.raises(WrongFilter) as wrong:
        parse("type:a\tstatus:faild tag:b")
    assert wrong.value.pointed() == "type:a status:faild tag:b\n              ^^^^^"


def test_a_comma_cannot_be_asked_of_lists() -> None:
    where = parse('type:"a,b"')
    assert where.selection(NOW) == {"type": ["a,b"]}
    with pytest.raises(InvalidRequest, match="a type with a comma in it: 'a,b'"):
        where.query(NOW)


def test_nothing_chooses_all() -> None:
    assert not parse("")
    assert parse("") == NOTHING
    assert parse("x")


words = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=20)
moments = st.builds(Moment, age_s=st.integers(0, 36_500 * 86_400)) | st.builds(
    Moment,
    st.datetimes(datetime(1971, 1, 1), datetime(9000, 1, 1)).map(lambda at: at.replace(tzinfo=UTC)),  # noqa: DTZ001
)
paths = st.from_regex(r"[A-Za-z0-9_-]{1,5}(\.[A-Za-z0-9_-]{1,5}){0,3}", fullmatch=True)
in_payload = st.dictionaries(paths, st.lists(words, min_size=1, unique=True, max_size=2), max_size=2).map(
    lambda found: tuple((path, value) for path, values in found.items() for value in values)
)
filters = st.builds(
    Filter,
    statuses=st.lists(st.sampled_from(Status), unique=True).map(tuple),
    priorities=st.lists(st.sampled_from(Priority), unique=True).map(tuple),
    types=st.lists(words, unique=True, max_size=3).map(tuple),
    tags=st.lists(words, unique=True, max_size=3).map(tuple),
    worker=st.none() | words,
    batch=st.none() | st.uuids(),
    schedule=st.none() | words,
    since=st.lists(moments, max_size=2).map(tuple),
    until=st.lists(moments, max_size=2).map(tuple),
    payload=in_payload,
    text=st.none() | words,
)


@given(filters)
def test_what_is_written_is_read_back(where: Filter) -> None:
    assert parse(str(where)) == where


@given(filters)
def test_the_api_takes_what_is_asked(where: Filter) -> None:
    asked = ActionFilter.model_validate(where.selection(NOW)).filter()
    assert (asked.statuses, asked.types, asked.tags) == (where.statuses, where.types, where.tags)
    assert (asked.worker, asked.batch, asked.schedule, asked.text) == (
        where.worker,
        where.batch,
        where.schedule,
        where.text,
    )
    try:
        query = where.query(NOW)
    except InvalidRequest:
        assert any("," in value for value in (*where.types, *where.tags))
    else:
        listed = JobListQuery.model_validate(query).filter()
        assert (listed.statuses, listed.priorities, listed.created_from) == (
            asked.statuses,
            asked.priorities,
            asked.created_from,
        )


@given(st.text(max_size=60))
def test_any_text_is_a_filter_or_a_mistake_in_its_place(text: str) -> None:
    try:
        parse(text).selection(NOW + timedelta(days=1))
    except WrongFilter as exc:
        place = exc.start, exc.end
    else:
        place = 0, 0
    assert 0 <= place[0] <= place[1] <= len(text)


def test_completion_offers_fields_then_values() -> None:
    assert completions("st") == ["status:"]
    assert completions("type:a t") == ["type:a type:", "type:a tag:"]
    assert completions("status:f") == ["status:failed"]
    assert completions("status:failed,t") == ["status:failed,timeout"]
    assert completions("type:two", {Field.TYPE: ["two words", "one"]}) == []
    assert completions("type:", {Field.TYPE: ["two words", "one"]}) == ['type:"two words"', "type:one"]
    assert completions("nothing:x") == []


def test_a_value_is_quoted_only_if_it_must_be() -> None:
    assert [quoted(value) for value in ("a.b-c", "a b", 'a"b\\', "")] == ["a.b-c", '"a b"', '"a\\"b\\\\"', '""']


def test_ids_of_batches_are_uuids() -> None:
    assert parse(f"batch:{BATCH}").batch == UUID(BATCH)
