"""Which files are pages, and where on the site: `docs/` as it is, and the READMEs of the services beside it."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

DOCS: Final = Path("docs")
INSIDE: Final = Path("inside")
"""Where on the site the READMEs of the services are."""
CHANGELOG: Final = Path("CHANGELOG.md")


def on_site(root: Path) -> Mapping[Path, Path]:
    """Return each page's place on the site by its path in the repository."""
    return dict(_on_site(root))


def checked(root: Path) -> list[Path]:
    """Return all pages whose links are checked, by their paths in the repository."""
    return sorted({*on_site(root), *(path.relative_to(root) for path in root.glob("*.md"))})


def _on_site(root: Path) -> Iterator[tuple[Path, Path]]:
    for path in sorted(root.joinpath(DOCS).rglob("*.md")):
        yield path.relative_to(root), path.relative_to(root / DOCS)
    for path in sorted(root.glob("[!.]*/README.md")):
        yield path.relative_to(root), INSIDE / f"{path.parent.name}.md"
    if root.joinpath(CHANGELOG).exists():
        yield CHANGELOG, Path("changelog.md")
