"""Moments as clients write them: RFC 3339 with an offset, never a bare number."""

import re
from datetime import UTC, datetime
from typing import Annotated, Final

from pydantic import AfterValidator, AwareDatetime, BeforeValidator
from pydantic_core import PydanticCustomError

EARLIEST: Final = datetime(1970, 1, 1, tzinfo=UTC)
LATEST: Final = datetime(9998, 12, 31, tzinfo=UTC)
_DATE_AND_TIME: Final = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:")


def _text(value: object) -> object:
    if not isinstance(value, str) or not _DATE_AND_TIME.match(value):
        raise PydanticCustomError("rfc3339", "must be a time such as 2030-01-31T12:00:00Z")
    return value


def _utc(at: datetime) -> datetime:
    """Return it in UTC; what is before 1970 or after 9998 is as good as those."""
    try:
        return min(max(at.astimezone(UTC), EARLIEST), LATEST)
    except OverflowError:
        return EARLIEST if at.year < EARLIEST.year else LATEST


Time = Annotated[AwareDatetime, BeforeValidator(_text), AfterValidator(_utc)]
"""In UTC, from 1970 to 9998."""
