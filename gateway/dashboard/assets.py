"""The dashboard's files, in memory and gzipped, with their digest in the address: browsers may keep them for ever."""

import gzip
import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Final

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

PREFIX: Final = "/assets/"
FOR_EVER: Final = "public, max-age=31536000, immutable"
TYPES: Final = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".woff2": "font/woff2",
}
VENDORED: Final = (
    ("htmx", "htmx.min.js"),
    ("htmx", "hx-sse.min.js"),
    ("alpinejs", "alpine-csp.min.js"),
    ("uplot", "uPlot.iife.min.js"),
    ("uplot", "uPlot.min.css"),
    ("inter", "inter-latin-wght-normal.woff2"),
)
ICONS: Final = "icons.svg"
_DRAWING: Final = re.compile(r"<svg[^>]*>(.*)</svg>", re.DOTALL)
_FONT: Final = "inter-latin-wght-normal.woff2"


@dataclass(frozen=True, slots=True)
class Asset:
    """One file."""

    body: bytes
    gzipped: bytes | None
    """None where it would not be smaller."""
    media_type: str
    digest: str

    @property
    def sent_bytes(self) -> int:
        """How large it is on the way to a browser."""
        return len(self.gzipped or self.body)


class Assets:
    """All of them; as an ASGI app it serves what is below PREFIX."""

    def __init__(self) -> None:
        self._assets = dict(_read())

    def __getitem__(self, name: str) -> Asset:
        """Return a file; KeyError."""
        return self._assets[name]

    def url(self, name: str) -> str:
        """Return a file's address; KeyError for one that is not there."""
        return f"{PREFIX}{self._assets[name].digest}/{name}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one file, whatever digest is asked for: an older page must not lose its style sheet."""
        await self._answer(scope)(scope, receive, send)

    def _answer(self, scope: Scope) -> Response:
        if scope["method"] not in ("GET", "HEAD"):
            return Response(status_code=405, headers={"Allow": "GET, HEAD"})
        digest, _, name = scope["path"].removeprefix(PREFIX).partition("/")
        asset = self._assets.get(name)
        if asset is None:
            return Response("there is no such file\n", 404, media_type="text/plain")
        headers = {
            "Cache-Control": FOR_EVER if digest == asset.digest else "no-cache",
            "Vary": "Accept-Encoding",
            "X-Content-Type-Options": "nosniff",
        }
        body = asset.body
        if asset.gzipped is not None and _takes_gzip(scope):
            body = asset.gzipped
            headers["Content-Encoding"] = "gzip"
        return Response(body, media_type=asset.media_type, headers=headers)


def _takes_gzip(scope: Scope) -> bool:
    return any(name == b"accept-encoding" and b"gzip" in value for name, value in scope["headers"])


def _read() -> Iterator[tuple[str, Asset]]:
    gateway = files("gateway")
    font = _asset(_FONT, gateway.joinpath("vendor", "inter", _FONT).read_bytes())
    for folder, name in VENDORED:
        yield name, _asset(name, gateway.joinpath("vendor", folder, name).read_bytes())
    yield ICONS, _asset(ICONS, _sprite(gateway.joinpath("vendor", "lucide")))
    for file in gateway.joinpath("dashboard", "static").iterdir():
        if any(file.name.endswith(suffix) for suffix in TYPES):
            body = file.read_bytes().replace(b"{{font}}", f"{PREFIX}{font.digest}/{_FONT}".encode())
            yield file.name, _asset(file.name, body)


def _asset(name: str, body: bytes) -> Asset:
    small = gzip.compress(body, 9, mtime=0)
    media_type = TYPES[name[name.rindex(".") :]]
    return Asset(body, small if len(small) < len(body) else None, media_type, hashlib.sha256(body).hexdigest()[:12])


def _sprite(folder: Traversable) -> bytes:
    """Put the icons into one file, each a symbol by its name."""
    symbols = []
    for file in sorted(folder.iterdir(), key=lambda each: each.name):
        if file.name.endswith(".svg"):
            drawing = _DRAWING.search(file.read_text("utf-8"))
            assert drawing is not None, file.name  # noqa: S101 -- these files come with us
            lines = re.sub(r"\s+", " ", drawing[1]).strip()
            symbols.append(f'<symbol id="{file.name.removesuffix(".svg")}" viewBox="0 0 24 24">{lines}</symbol>')
    return f'<svg xmlns="http://www.w3.org/2000/svg">{"".join(symbols)}</svg>\n'.encode()
