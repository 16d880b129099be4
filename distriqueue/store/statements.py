"""Reads `sql/*.sql`: each file holds statements under `-- name: …` lines."""

import re
from collections.abc import Mapping
from importlib.resources import files
from typing import Final

_NAME: Final = re.compile(r"^-- name: (\w+)\s*$", re.MULTILINE)


def load(file: str) -> Mapping[str, str]:
    """Return the statements of one file by name, without their comments; a KeyError at use is a misspelt name."""
    text = files("distriqueue.store").joinpath("sql", file).read_text("utf-8")
    parts = _NAME.split(text)[1:]
    return {
        name: re.sub(r"^\s*--.*\n", "", body, flags=re.MULTILINE).strip()
        for name, body in zip(parts[::2], parts[1::2], strict=True)
    }
