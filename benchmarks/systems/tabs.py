"""Open tabs of the dashboard, in a process of their own: all that a browser asks a gateway for, and nothing it draws.

    async with open_tabs(url, ["/", "/jobs?q=status:failed"]) as tabs:
        await tabs.reset()
        ...
        figures = await tabs.figures()

Each tab loads its page as Chromium asks for it, what the page loads later, and then its stream, which stays open. The
files (scripts, style, letters) are not loaded: a browser has them in its cache.
"""

import argparse
import asyncio
import html
import json
import re
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import httpx

from tests.servers.process import private_env

ROOT: Final = Path(__file__).parents[2]
OPEN_S: Final = 30.0
SAY_S: Final = 10.0
PAGE: Final = {
    "User-Agent": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0 Safari/537.36",
    "Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8",
    "Accept-Encoding": "gzip, deflate, br, zstd",
    "Accept-Language": "en-GB,en;q=0.9",
    "Sec-Fetch-Site": "same-origin",
}
PART: Final = PAGE | {"Accept": "text/html", "HX-Request": "true"}
STREAM: Final = PAGE | {"Accept": "text/html, text/event-stream", "HX-Request": "true", "Cache-Control": "no-cache"}
LATER: Final = re.compile(r'hx-get="([^"]+)" hx-trigger="load"')
LIVE: Final = re.compile(r'hx-sse:connect="([^"]+)"')


@dataclass(frozen=True, slots=True)
class Figures:
    """What all tabs together got in a span of time."""

    took_s: float
    size_bytes: int
    frames: int
    ended: int
    """Streams that were cut off."""


class Browser:
    """The tabs, and what came to them."""

    def __init__(self, url: str) -> None:
        limits = httpx.Limits(max_connections=None)
        self._client = httpx.AsyncClient(base_url=url, trust_env=False, limits=limits, timeout=OPEN_S)
        self._ended = 0
        self.reset()

    def reset(self) -> None:
        """Count from now on."""
        self._since = time.monotonic()
        self._size_bytes = self._frames = 0

    def figures(self) -> Figures:
        """Return what came since `reset`."""
        return Figures(time.monotonic() - self._since, self._size_bytes, self._frames, self._ended)

    async def open(self, path: str, shown: asyncio.Event) -> None:
        """Open a tab, set `shown` at its first frame, and keep it open."""
        page = (await self._client.get(path, headers=PAGE)).raise_for_status().text
        for later in LATER.findall(page):
            (await self._client.get(html.unescape(later), headers=PART)).raise_for_status()
        found = LIVE.search(page)
        assert found is not None, f"{path} has no stream"
        address, timeout = html.unescape(found[1]), httpx.Timeout(OPEN_S, read=None)
        async with self._client.stream("GET", address, headers=STREAM, timeout=timeout) as answer:
            answer.raise_for_status()
            async for piece in answer.aiter_raw():
                self._size_bytes += len(piece)
                self._frames += piece.count(b"\nid: ") + piece.startswith(b"id: ")
                shown.set()
        self._ended += 1


class Tabs:
    """The process of the tabs, seen from the benchmark."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def reset(self) -> None:
        """Count from now on."""
        await self._say("reset")

    async def figures(self) -> Figures:
        """Return what the tabs got since `reset`."""
        return Figures(**json.loads(await self._say("figures")))

    async def ready(self) -> None:
        """Wait until every tab has got something by its stream."""
        await self._answer(OPEN_S)

    async def _say(self, word: str) -> bytes:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{word}\n".encode())
        return await self._answer(SAY_S)

    async def _answer(self, timeout_s: float) -> bytes:
        assert self._process.stdout is not None
        async with asyncio.timeout(timeout_s):
            line = await self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the tabs ended with {await self._process.wait()}")
        return line


@asynccontextmanager
async def open_tabs(url: str, paths: Sequence[str]) -> AsyncIterator[Tabs]:
    """Yield the tabs once all of them show something; they are closed with the block."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", __name__, "--url", url, *paths),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env=private_env(PYTHONPATH=str(ROOT)),
    )
    tabs = Tabs(process)
    try:
        await tabs.ready()
        yield tabs
    finally:
        if process.returncode is None:
            process.kill()
        async with asyncio.timeout(SAY_S):
            await process.wait()


async def _run(url: str, paths: Sequence[str]) -> None:
    browser = Browser(url)
    lines = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    async with asyncio.TaskGroup() as group:
        shown = [asyncio.Event() for _ in paths]
        tabs = [group.create_task(browser.open(path, event)) for path, event in zip(paths, shown, strict=True)]
        async with asyncio.timeout(OPEN_S):
            for event in shown:
                await event.wait()
        print("ready", flush=True)
        while line := await lines.readline():  # until the benchmark is over, and closes the pipe
            match line.strip():
                case b"reset":
                    browser.reset()
                    print("counting", flush=True)
                case b"figures":
                    print(json.dumps(asdict(browser.figures())), flush=True)
        for tab in tabs:
            tab.cancel()


def main(arguments: Sequence[str] | None = None) -> None:
    """Open all, say `ready`, then answer each line of stdin, until it ends."""
    parser = argparse.ArgumentParser(prog=f"python -m {__spec__.name}", description=__doc__)
    parser.add_argument("--url", required=True)
    parser.add_argument("paths", nargs="+")
    asked = parser.parse_args(arguments)
    asyncio.run(_run(asked.url, asked.paths))


if __name__ == "__main__":
    main()
