"""The job `thumbnail`: make a picture small."""

from pathlib import Path

from png import decode, encode, shrink
from pydantic import BaseModel, Field

from workers import Discard, JobContext, Registry

registry = Registry()


class Thumbnail(BaseModel):
    """The payload: which picture, how wide, and where to."""

    source: Path
    target: Path
    width: int = Field(ge=1, le=1000)


# Plain Python over every pixel takes the processor: a process of its own, which a timeout or a cancel can kill.
@registry.handler("thumbnail", kind="process", timeout_s=60)
def thumbnail(payload: Thumbnail, ctx: JobContext) -> dict[str, object]:
    """Read, shrink and write; tell how far it is after each row."""
    try:
        picture = decode(payload.source.read_bytes())
    except (OSError, ValueError) as exc:
        raise Discard(f"{payload.source.name}: {exc}") from exc  # it will be no better the next time
    small = shrink(picture, payload.width, lambda row, rows: ctx.progress(100 * row / rows, f"row {row} of {rows}"))
    payload.target.parent.mkdir(parents=True, exist_ok=True)
    part = payload.target.with_suffix(".part")  # a job may run twice: the second time the same file takes its place
    part.write_bytes(encode(small))
    part.replace(payload.target)
    ctx.log.info("written", target=payload.target.name, bytes=payload.target.stat().st_size)
    return {"width": small.width, "height": small.height, "bytes": payload.target.stat().st_size}
