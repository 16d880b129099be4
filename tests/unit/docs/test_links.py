"""Links in Markdown: which there are, and which of them lead nowhere."""

from pathlib import Path

import pytest

from distriqueue.manual import links, pages

ROOT = Path(__file__).parents[3]


def test_every_link_and_anchor_of_the_documentation_leads_somewhere() -> None:
    assert links.broken(ROOT, pages.checked(ROOT)) == []


@pytest.mark.parametrize(
    ("text", "targets"),
    [
        ("see [a page](a.md) and [another](../b.md#part)", ["a.md", "../b.md#part"]),
        ("![a picture](picture.svg)", ["picture.svg"]),
        ('[titled](a.md "its title")', ["a.md"]),
        ("[a `name` in code](a.md)", ["a.md"]),
        ("[two [brackets]](a.md)", ["a.md"]),
        ("[defined]: a.md", ["a.md"]),
        ("`[code](a.md)` and ``[more `code`](b.md)``", []),
        ("```\n[code](a.md)\n```\n[text](b.md)", ["b.md"]),
        ("````\n```\n[code](a.md)\n````", []),
        (r"\[no link](a.md)", []),
        ("| [in](a.md) | [cells](b.md) |", ["a.md", "b.md"]),
    ],
)
def test_links_are_found_in_prose_and_not_in_code(text: str, targets: list[str]) -> None:
    assert [link.target for link in links.links(text)] == targets


def test_a_link_is_rewritten_in_its_place() -> None:
    text = "`[code](a.md)` [one](a.md) [two](b.md)\n[three](a.md)"
    changed = links.rewritten(text, lambda link: "longer/a.md" if link.target == "a.md" else None)
    assert changed == "`[code](a.md)` [one](longer/a.md) [two](b.md)\n[three](longer/a.md)"


@pytest.mark.parametrize(
    ("heading", "anchor"),
    [
        ("What it takes", "what-it-takes"),
        ("`GET` a [page](a.md)", "get-a-page"),
        ("Coming from Celery / RQ", None),  # two dashes on GitHub, one on the site
        ("Größe", None),
        ("POST /api/jobs/{jobId}", "post-apijobsjobid"),
    ],
)
def test_an_anchor_counts_when_it_leads_to_the_heading_on_github_and_on_the_site(
    heading: str, anchor: str | None
) -> None:
    assert links.anchors(f"# Title\n\n## {heading}\n") == {"title", *([anchor] if anchor else [])}


def test_a_heading_that_comes_twice_has_no_anchor_and_neither_has_one_in_code() -> None:
    assert links.anchors("# One\n## Two\n## Two\n```\n# three\n```\n") == {"one"}


@pytest.mark.parametrize(
    ("target", "wrong"),
    [
        ("other.md", None),
        ("other.md#there", None),
        ("#here", None),
        ("../README.md", None),
        ("https://example.org/#anything", None),
        ("gone.md", "docs/page.md:3: gone.md leads nowhere"),
        ("../../outside.md", "docs/page.md:3: ../../outside.md leads nowhere"),
        ("other.md#gone", "docs/page.md:3: docs/other.md has no heading for #gone"),
        ("#gone", "docs/page.md:3: docs/page.md has no heading for #gone"),
        ("data.json#part", "docs/page.md:3: data.json#part has an anchor into what is no page"),
    ],
)
def test_what_leads_nowhere_is_named_with_its_line(tmp_path: Path, target: str, wrong: str | None) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "README.md").write_text("# Start\n", "utf-8")
    (tmp_path / "docs/data.json").write_text("{}", "utf-8")
    (tmp_path / "docs/other.md").write_text("# Other\n\n## There\n", "utf-8")
    (tmp_path / "docs/page.md").write_text(f"# Here\n\n[link]({target})\n", "utf-8")
    assert links.broken(tmp_path, pages.checked(tmp_path)) == ([wrong] if wrong else [])
