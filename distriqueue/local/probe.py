"""Ask a health URL; a plain exchange over a socket, as it is repeated many times while the stack starts."""

import asyncio
from typing import Final
from urllib.parse import urlsplit

_TIMEOUT_S: Final = 2.0


async def answers(url: str) -> bool:
    """Tell whether the URL answers 200 now."""
    parts = urlsplit(url)
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
            try:
                request = f"GET {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\nConnection: close\r\n\r\n"
                writer.write(request.encode())
                status_line = await reader.readline()
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return False
    return status_line.split()[1:2] == [b"200"]
