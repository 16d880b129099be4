"""Links in Markdown: find them, and see that they lead somewhere. Only those inside the repository: nothing is fetched.

An anchor must be what both GitHub and the site make of a heading, since the same file is read in both places.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import unquote

_FENCE: Final = re.compile(r"^( {0,3}|>\s*)(`{3,}|~{3,})")
_CODE: Final = re.compile(r"(?<!`)(`+)(?!`)(.+?)(?<!`)\1(?!`)")
_TEXT: Final = r"\[((?:[^\[\]\\]|\\.|\[[^\[\]]*\])*)\]"
_INLINE: Final = re.compile(r"(?<!\\)(!?)" + _TEXT + r"\(\s*<?([^)\s<>]*)>?(?:\s+\"[^\"]*\")?\s*\)")
_DEFINED: Final = re.compile(r"^ {0,3}\[([^\]^]+)\]:\s*<?(\S+?)>?\s*$")
_HEADING: Final = re.compile(r"^#{1,6}\s+(.+?)\s*#*\s*$")
_ELSEWHERE: Final = re.compile(r"^([a-z][a-z0-9+.-]*:|//)", re.IGNORECASE)


class Link(NamedTuple):
    """A link as it stands in a text: the line (from 1) and where in it its target is."""

    line: int
    start: int
    end: int
    target: str

    @property
    def is_external(self) -> bool:
        """Whether it leaves the repository."""
        return _ELSEWHERE.match(self.target) is not None


def links(text: str) -> Iterator[Link]:
    """Yield the links of a text in order; code has none."""
    for number, line in _prose(text):
        for found in _INLINE.finditer(line):
            yield Link(number, found.start(3), found.end(3), found.group(3))
        if defined := _DEFINED.match(line):
            yield Link(number, defined.start(2), defined.end(2), defined.group(2))


def rewritten(text: str, target_of: Callable[[Link], str | None]) -> str:
    """Return the text with other targets; None leaves a link as it is."""
    lines = text.split("\n")
    for link in reversed(list(links(text))):
        target = target_of(link)
        if target is not None:
            line = lines[link.line - 1]
            lines[link.line - 1] = line[: link.start] + target + line[link.end :]
    return "\n".join(lines)


def anchors(text: str) -> frozenset[str]:
    """Return the anchors that lead to a heading of the text wherever it is read."""
    headings = [_plain(found.group(1)) for _, line in _prose(text, blank=False) if (found := _HEADING.match(line))]
    return frozenset(_unique(map(_on_github, headings))) & frozenset(_unique(map(_on_site, headings)))


def broken(root: Path, pages: Iterable[Path]) -> list[str]:
    """Return what is wrong with the links of the pages (paths in the repository), as `page:line: what`."""
    texts = {page: root.joinpath(page).read_text("utf-8") for page in pages}
    return [
        f"{page}:{link.line}: {wrong}"
        for page, text in texts.items()
        for link in links(text)
        if (wrong := _wrong(root, page, link, texts)) is not None
    ]


def _wrong(root: Path, page: Path, link: Link, texts: Mapping[Path, str]) -> str | None:
    if link.is_external:
        return None
    path, _, anchor = link.target.partition("#")
    target = within(page, path) if path else page
    if target is None or not root.joinpath(target).exists():
        return f"{link.target} leads nowhere"
    if not anchor:
        return None
    if target not in texts:
        return f"{link.target} has an anchor into what is no page"
    return None if anchor in anchors(texts[target]) else f"{target} has no heading for #{anchor}"


def within(page: Path, target: str) -> Path | None:
    """Return what a relative target means, as a path in the repository; None when it leaves it."""
    parts: list[str] = []
    for part in (*page.parent.parts, *unquote(target).split("/")):
        if part == "..":
            if not parts:
                return None
            parts.pop()
        elif part not in ("", "."):
            parts.append(part)
    return Path(*parts)


def _prose(text: str, *, blank: bool = True) -> Iterator[tuple[int, str]]:
    """Yield the lines that are no code block, code in them blanked out so that columns stay."""
    fence = ""
    for number, line in enumerate(text.split("\n"), 1):
        opened = _FENCE.match(line)
        if fence:
            if opened and opened.group(2).startswith(fence):
                fence = ""
        elif opened:
            fence = opened.group(2)
        else:
            yield number, _CODE.sub(lambda found: " " * len(found.group(0)), line) if blank else line


def _plain(heading: str) -> str:
    return _INLINE.sub(lambda found: found.group(2), heading).replace("`", "").replace("*", "")


@cache
def _on_github(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@cache
def _on_site(heading: str) -> str:
    ascii_only = heading.encode("ascii", "ignore").decode()
    return re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", ascii_only).strip().lower())


def _unique(slugs: Iterable[str]) -> Iterator[str]:
    """Yield those that come once: how a second one is told apart differs."""
    every = list(slugs)
    return (slug for slug in every if every.count(slug) == 1)
