"""As much of PromQL as a test has to read: the names of the metrics in an expression."""

import re
from typing import Final

_DROPPED: Final = (
    r'"(?:[^"\\]|\\.)*"',  # strings
    r"\{[^}]*\}",  # matchers
    r"\[[^\]]*\]",  # ranges
    r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)",
    r"\b\d[\w.]*",
)
_WORDS: Final = frozenset({"or", "and", "unless", "bool", "offset", "by", "without", "on", "ignoring"})


def metrics_of(expr: str) -> set[str]:
    """Return every name that is neither a function's nor a word of the language."""
    for pattern in _DROPPED:
        expr = re.sub(pattern, " ", expr)
    return {
        match[1]
        for match in re.finditer(r"([A-Za-z_:][\w:]*)\s*(\()?", expr)
        if match[2] is None and match[1].lower() not in _WORDS
    }
