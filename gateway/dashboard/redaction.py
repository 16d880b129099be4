"""What documents say under names such as `password` is not shown."""

import re
from typing import Any, Final

HIDDEN: Final = "[redacted]"
"""In place of the value, also in forms: what comes back like this is put back by `restored`."""
_NAMES: Final = re.compile(
    r"pass(word|wd|phrase)$|^pass$|^pwd$|secret|token(?!s)|api[-_]?key|private[-_]?key|access[-_]?key|authori[sz]ation|cookie"
    r"|credential|session[-_]?id|signature|^ssn$|card[-_]?number|^cvv$|^iban$",
    re.IGNORECASE,
)


def is_secret(name: str) -> bool:
    """Tell whether what has this name is not for everyone's eyes."""
    return _NAMES.search(name) is not None


def redacted(value: Any) -> Any:
    """Return a document with its secrets hidden; the document itself stays as it is."""
    if isinstance(value, dict):
        return {
            name: HIDDEN if is_secret(str(name)) and item not in (None, "", [], {}) else redacted(item)
            for name, item in value.items()
        }
    if isinstance(value, list):
        return [redacted(item) for item in value]
    return value


def restored(value: Any, original: Any) -> Any:
    """Return an edited document with what was hidden in it, and not touched, put back."""
    if isinstance(value, dict):
        known = original if isinstance(original, dict) else {}
        return {name: _restored_item(name, item, known) for name, item in value.items()}
    if isinstance(value, list):
        items = original if isinstance(original, list) else []
        return [restored(item, items[place] if place < len(items) else None) for place, item in enumerate(value)]
    return value


def _restored_item(name: str, item: Any, known: dict[str, Any]) -> Any:
    if item == HIDDEN and is_secret(name) and name in known:
        return known[name]
    return restored(item, known.get(name))
