"""Count words: `map` counts those of one text, `reduce` adds up a share of the alphabet, `collect` joins the shares."""

import re
from collections import Counter
from typing import Any

from pydantic import BaseModel, Field

from workers import Discard, JobContext, Parent, Registry

registry = Registry()


class Map(BaseModel):
    """A text, and into how many shares its words are sorted."""

    text: str
    shares: int = Field(ge=1, le=64)


class Reduce(BaseModel):
    """Which share."""

    share: int = Field(ge=0)


def words(text: str) -> Counter[str]:
    """Count the words of a text, without regard to case."""
    return Counter(re.findall(r"[a-z]+", text.lower()))


@registry.handler("map")
async def map_(payload: Map) -> list[dict[str, int]]:
    """Return a count for each share; a word's first letter says which is its."""
    shares: list[dict[str, int]] = [{} for _ in range(payload.shares)]
    for word, count in words(payload.text).items():
        shares[ord(word[0]) % payload.shares][word] = count
    return shares


@registry.handler("reduce")
async def reduce_(payload: Reduce, ctx: JobContext) -> dict[str, int]:
    """Add up what all maps have counted for a share: they are this job's parents."""
    total: Counter[str] = Counter()
    for number, parent in enumerate(ctx.parents.values(), 1):
        total.update(_result(parent)[payload.share])
        ctx.progress(100 * number / len(ctx.parents))
    return dict(total)


@registry.handler("collect")
async def collect(payload: dict[str, Any], ctx: JobContext) -> dict[str, object]:
    """Join the shares: no word is in two."""
    total: Counter[str] = Counter()
    for parent in ctx.parents.values():
        total.update(_result(parent))
    return {"words": total.total(), "different": len(total), "most": dict(total.most_common(int(payload["most"])))}


def _result(parent: Parent) -> Any:
    if parent.omitted:
        raise Discard(f"the result of {parent.job_id} is over 64 KiB: take smaller texts, or more shares")
    return parent.result
