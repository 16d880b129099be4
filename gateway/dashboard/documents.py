"""JSON documents as coloured text; everything in them is escaped here."""

import json
from typing import Any, Final

from markupsafe import Markup, escape

from gateway.dashboard.redaction import HIDDEN, redacted

MOST_CHARS: Final = 60_000
"""Of a document's text that a page shows."""


def shown(text: str | None) -> tuple[Markup, bool]:
    """Return JSON text for a page, its secrets hidden, and whether all of it is shown."""
    if text is None:
        return Markup(""), True
    spelt = json.dumps(redacted(json.loads(text)), indent=2, ensure_ascii=False)
    if len(spelt) > MOST_CHARS:
        return escape(spelt[:MOST_CHARS]), False
    return Markup("").join(_pieces(redacted(json.loads(text)), 0)), True


def editable(text: str | None) -> str:
    """Return JSON text for a form, its secrets hidden."""
    return json.dumps(redacted(json.loads(text or "{}")), indent=2, ensure_ascii=False)


def _pieces(value: Any, depth: int) -> list[Markup]:
    pad, inner = Markup("  ") * depth, Markup("  ") * (depth + 1)
    if isinstance(value, dict) and value:
        found = [Markup("{\n")]
        for place, (name, item) in enumerate(value.items()):
            comma = "," if place < len(value) - 1 else ""
            key = Markup('<span class="j-key">{}</span>: ').format(json.dumps(str(name), ensure_ascii=False))
            found += [inner, key, *_pieces(item, depth + 1), escape(comma), Markup("\n")]
        return [*found, pad, Markup("}")]
    if isinstance(value, list) and value:
        found = [Markup("[\n")]
        for place, item in enumerate(value):
            comma = "," if place < len(value) - 1 else ""
            found += [inner, *_pieces(item, depth + 1), escape(comma), Markup("\n")]
        return [*found, pad, Markup("]")]
    if value == HIDDEN:
        return [Markup('<span class="j-hidden">redacted</span>')]
    kind = "text" if isinstance(value, str) else "word" if value is None or isinstance(value, bool) else "number"
    if isinstance(value, dict | list):
        kind = "key"
    return [Markup('<span class="j-{}">{}</span>').format(kind, json.dumps(value, ensure_ascii=False))]
