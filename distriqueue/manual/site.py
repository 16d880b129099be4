"""The site: the pages copied to one directory, their links changed to fit, and built there by zensical."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from distriqueue.manual import links, pages

CONFIGURATION: Final = Path("zensical.toml")
STAGE: Final = Path("build/manual/pages")
"""`docs_dir` of the configuration."""
SITE: Final = Path("build/manual/site")
"""`site_dir` of the configuration."""
FILES: Final = Path("files")
"""Where on the site those files are that pages link and that are no pages."""
SHIM: Final = ("https://unpkg.com/iframe-worker/shim", Path("assets/vendor/iframe-worker/shim.js"))
"""What the theme loads from the internet for the search in files, and where we have it."""
_COLOURS: Final = re.compile(r"\x1b\[[0-9;]*m")  # zensical knows no NO_COLOR
_OUTSIDE: Final = re.compile(
    r"<(?:script|img|iframe|link rel=\"?stylesheet)\b[^>]*?\b(?:src|href)=\"?((?:https?:)?//[^\" >]+)"
)
BUILD_S: Final = 300


class NotBuilt(Exception):
    """A link leads nowhere, or zensical complains; the message says which."""


def build(root: Path) -> Path:
    """Check all links, build the site anew and return its directory; NotBuilt when anything is wrong."""
    if wrong := links.broken(root, pages.checked(root)):
        raise NotBuilt("\n".join(wrong))
    stage(root)
    shutil.rmtree(root / SITE, ignore_errors=True)
    where = str(root / CONFIGURATION)
    command = (sys.executable, "-m", "zensical", "build", "--clean", "--strict", "--config-file", where)
    try:
        done = subprocess.run(  # noqa: S603 -- all of it is said here
            command,
            cwd=root,
            capture_output=True,
            text=True,
            timeout=BUILD_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise NotBuilt(f"zensical is not done after {BUILD_S} s") from None
    if done.returncode:
        raise NotBuilt(_COLOURS.sub("", done.stdout + done.stderr))
    _keep_inside(root / SITE)
    return root / SITE


def _keep_inside(built: Path) -> None:
    """Let pages load nothing from the internet; NotBuilt names what one would."""
    outside, ours = SHIM
    for page in built.rglob("*.html"):
        text = page.read_text("utf-8").replace(outside, os.path.relpath(built / ours, page.parent))
        if found := _OUTSIDE.search(text):
            raise NotBuilt(f"{page.relative_to(built)} loads {found.group(1)}")
        page.write_text(text, "utf-8")


def stage(root: Path) -> None:
    """Write what the site is made from below `STAGE`, in the place of what was there."""
    target = root / STAGE
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(root / pages.DOCS, target)
    places = pages.on_site(root)
    for source, place in places.items():

        def fit(link: links.Link, source: Path = source, place: Path = place) -> str | None:
            return _target(root, link, source, place, places)

        target.joinpath(place).parent.mkdir(parents=True, exist_ok=True)
        text = root.joinpath(source).read_text("utf-8")
        target.joinpath(place).write_text(links.rewritten(text, fit), "utf-8")


def _target(root: Path, link: links.Link, source: Path, place: Path, places: Mapping[Path, Path]) -> str | None:
    path, hash_, anchor = link.target.partition("#")
    meant = links.within(source, path) if path and not link.is_external else None
    if meant is None or not root.joinpath(meant).exists():
        return None
    if meant not in places and meant.is_relative_to(pages.DOCS) and root.joinpath(meant).is_file():
        return None
    there = places.get(meant / "README.md") or places.get(meant) or _other(root, meant)
    return os.path.relpath(there, place.parent) + hash_ + anchor


def _other(root: Path, path: Path) -> Path:
    """Return where a file that is no page is, copying it; the start page for a directory and for the README."""
    if path == Path("README.md") or not root.joinpath(path).is_file():
        return Path("index.md")
    copy = root / STAGE / FILES / path
    copy.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(root / path, copy)
    return FILES / path
