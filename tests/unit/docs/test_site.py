"""The site: its navigation holds every page, and what it is made from has links that fit."""

import hashlib
import re
import shutil
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from distriqueue.manual import links, pages, site

ROOT = Path(__file__).parents[3]
VENDOR = ROOT / "docs/assets/vendor"
LISTED = "adr/"
"""The decisions are listed by their own page."""


def test_the_navigation_holds_every_page_once_and_nothing_else() -> None:
    listed = list(_paths(_configuration()["nav"]))
    assert len(listed) == len(set(listed))
    wanted = {str(place) for place in pages.on_site(ROOT).values()}
    assert {path for path in wanted if not path.startswith(LISTED)} == set(listed) - {f"{LISTED}README.md"}


def test_the_configuration_says_where_the_site_is_made() -> None:
    configuration = _configuration()
    assert (configuration["docs_dir"], configuration["site_dir"]) == (str(site.STAGE), str(site.SITE))


def test_links_between_pages_fit_where_the_pages_are_on_the_site(tmp_path: Path) -> None:
    for path, text in {
        "README.md": "# Start",
        "LICENSE": "free",
        "service/README.md": "# Service\n[design](../docs/design.md#part) [licence](../LICENSE)",
        "docs/index.md": "# Site",
        "docs/design.md": "# Design\n[service](../service/README.md) [start](../README.md) [data](data.yaml)\n## Part",
        "docs/guides/one.md": "# One\n[service](../../service/README.md#service) [away](https://example.org)",
        "docs/data.yaml": "a: 1",
    }.items():
        tmp_path.joinpath(path).parent.mkdir(parents=True, exist_ok=True)
        tmp_path.joinpath(path).write_text(text, "utf-8")
    assert links.broken(tmp_path, pages.checked(tmp_path)) == []
    site.stage(tmp_path)
    stage = tmp_path / site.STAGE
    found = {
        str(path.relative_to(stage)): [link.target for link in links.links(path.read_text("utf-8"))]
        for path in stage.rglob("*.md")
    }
    assert found == {
        "index.md": [],
        "design.md": ["inside/service.md", "index.md", "data.yaml"],
        "guides/one.md": ["../inside/service.md#service", "https://example.org"],
        "inside/service.md": ["../design.md#part", "../files/LICENSE"],
    }
    assert (stage / "files/LICENSE").read_text() == "free"
    assert (stage / "data.yaml").exists()


def test_the_site_is_built_without_a_complaint_and_loads_nothing_from_outside(tmp_path: Path) -> None:
    for entry in ROOT.iterdir():
        if not entry.name.startswith(".") and entry.name != "build":
            tmp_path.joinpath(entry.name).symlink_to(entry)
    tmp_path.joinpath(site.CONFIGURATION).unlink()  # zensical would build where the link leads
    shutil.copyfile(ROOT / site.CONFIGURATION, tmp_path / site.CONFIGURATION)
    built = site.build(tmp_path)
    wanted = {str(place.with_suffix(".html")).replace("README", "index") for place in pages.on_site(ROOT).values()}
    assert wanted <= {str(path.relative_to(built)) for path in built.rglob("*.html")}
    assert "unpkg.com" not in built.joinpath("index.html").read_text("utf-8")


@pytest.mark.parametrize(
    "wrong",
    ["[nowhere](gone.md)", "[no such heading](index.md#gone)", '<script src="https://example.org/a.js"></script>'],
)
def test_a_site_that_is_wrong_is_not_built(tmp_path: Path, wrong: str) -> None:
    tmp_path.joinpath("docs").mkdir()
    tmp_path.joinpath("docs/index.md").write_text(f"# Start\n\n{wrong}\n", "utf-8")
    text = ROOT.joinpath(site.CONFIGURATION).read_text("utf-8")
    tmp_path.joinpath(site.CONFIGURATION).write_text(
        re.sub(r"nav = \[\n.*?^\]\n", "", text, flags=re.DOTALL | re.MULTILINE), "utf-8"
    )
    with pytest.raises(site.NotBuilt, match=r"gone|example\.org"):
        site.build(tmp_path)


def test_what_others_made_is_what_its_checksums_say() -> None:
    listed = [line.split() for line in VENDOR.joinpath("SHA256SUMS").read_text("utf-8").splitlines()]
    assert {name for _, name in listed} == {str(path.relative_to(VENDOR)) for path in VENDOR.glob("*/*")}
    for digest, name in listed:
        assert hashlib.sha256(VENDOR.joinpath(name).read_bytes()).hexdigest() == digest, name


def _configuration() -> dict[str, Any]:
    configuration: dict[str, Any] = tomllib.loads(ROOT.joinpath(site.CONFIGURATION).read_text("utf-8"))["project"]
    return configuration


def _paths(nav: list[Any]) -> Iterator[str]:
    for entry in nav:
        match entry:
            case str():
                yield entry
            case dict():
                for inner in entry.values():
                    yield from _paths(inner if isinstance(inner, list) else [inner])
