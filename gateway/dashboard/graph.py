"""A job between those that it waits for and those that wait for it, laid out for an SVG."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from distriqueue.store.dashboard import Relative

BOX_W: Final = 176
BOX_H: Final = 40
GAP_X: Final = 56
GAP_Y: Final = 12
PAD: Final = 2
MOST: Final = 12
"""Of each side; the rest is counted."""
_NAME_CHARS: Final = 21


@dataclass(frozen=True, slots=True)
class Box:
    """A job in the drawing."""

    x: int
    y: int
    id: UUID
    name: str
    status: str
    here: bool


@dataclass(frozen=True, slots=True)
class Graph:
    """Boxes, the lines between them, and how many did not fit."""

    width: int
    height: int
    boxes: Sequence[Box]
    lines: Sequence[str]
    more_parents: int
    more_children: int


def lay_out(here: Relative, parents: Sequence[Relative], children: Sequence[Relative]) -> Graph | None:
    """Lay it out in up to three columns; None for a job that has neither."""
    if not parents and not children:
        return None
    columns = [column for column in (parents[:MOST], [here], children[:MOST]) if column]
    rows = max(len(column) for column in columns)
    height = rows * BOX_H + (rows - 1) * GAP_Y
    boxes = [
        Box(
            PAD + place * (BOX_W + GAP_X),
            PAD + (height - (len(column) * BOX_H + (len(column) - 1) * GAP_Y)) // 2 + row * (BOX_H + GAP_Y),
            relative.id,
            _cut(relative.type),
            relative.status,
            relative is here,
        )
        for place, column in enumerate(columns)
        for row, relative in enumerate(column)
    ]
    centre = next(box for box in boxes if box.here)
    lines = [_line(box, centre) if box.x < centre.x else _line(centre, box) for box in boxes if not box.here]
    width = len(columns) * BOX_W + (len(columns) - 1) * GAP_X
    return Graph(
        width + 2 * PAD,
        height + 2 * PAD,
        boxes,
        lines,
        max(len(parents) - MOST, 0),
        max(len(children) - MOST, 0),
    )


def _line(left: Box, right: Box) -> str:
    """Return the path of a curve from the one's side to the other's."""
    x1, y1 = left.x + BOX_W, left.y + BOX_H // 2
    x2, y2 = right.x, right.y + BOX_H // 2
    middle = (x1 + x2) // 2
    return f"M{x1} {y1} C{middle} {y1} {middle} {y2} {x2} {y2}"


def _cut(name: str) -> str:
    return name if len(name) <= _NAME_CHARS else f"{name[: _NAME_CHARS - 1]}…"
