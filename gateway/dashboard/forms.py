"""Forms as browsers post them."""

from typing import Final
from urllib.parse import parse_qs

from starlette.requests import Request

from distriqueue.core.errors import PayloadTooLarge

MAX_BYTES: Final = 4_000_000


async def posted(request: Request) -> dict[str, str]:
    """Return a form's fields, the first value of each; PayloadTooLarge."""
    parts: list[bytes] = []
    size = 0
    async for chunk in request.stream():
        parts.append(chunk)
        size += len(chunk)
        if size > MAX_BYTES:
            raise PayloadTooLarge(f"a form has at most {MAX_BYTES} bytes: use the API for more")
    found = parse_qs(b"".join(parts).decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=100)
    return {name: values[0] for name, values in found.items()}
