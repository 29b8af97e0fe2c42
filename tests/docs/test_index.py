"""docs/README.md names every page once, and no link between the pages leads nowhere."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.glob("*.md"))]
_LINK = re.compile(r"\]\((?!https?:)([^)#\s]*)(?:#([^)\s]+))?\)")


def links(page: Path) -> list[tuple[Path, str]]:
    """The files and anchors that a page links to; the page itself for `(#anchor)`."""
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    return [(page.parent / path if path else page, anchor) for path, anchor in _LINK.findall(text)]


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_index_names_every_page_once() -> None:
    named = [path.name for path, _ in links(DOCS / "README.md") if path.parent == DOCS]
    assert sorted(named) == sorted(page.name for page in DOCS.glob("*.md") if page.name != "README.md")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_to_a_file_and_a_heading(page: Path) -> None:
    for target, anchor in links(page):
        assert target.exists(), f"{page.name} links to {target}, which is not there"
        assert not anchor or anchor in anchors(target), f"{page.name} links to #{anchor}, no heading of {target.name}"


def test_contributing_and_design_name_only_files_and_folders_that_are_there() -> None:
    for page in (ROOT / "CONTRIBUTING.md", DOCS / "design.md"):
        named = re.findall(r"`([a-z_]+/[\w./-]*)`", page.read_text(encoding="utf-8"))
        whole = [path for path in named if (ROOT / path.split("/")[0]).is_dir()]  # others go on from a path before
        assert len(whole) > 20
        assert [path for path in whole if not (ROOT / path).exists()] == []


def test_the_map_of_design_has_every_folder_of_the_code() -> None:
    rows = re.findall(r"^\| (`.*?) \|", (DOCS / "design.md").read_text(encoding="utf-8"), re.MULTILINE)
    named: set[str] = set()
    for row in rows:
        first, *others = [path.rstrip("/") for path in re.findall(r"`([\w./-]+)`", row)]
        named |= {first, *(f"{first.rpartition('/')[0]}/{other}" for other in others)}
    named |= {"model/data/sources", "model/data/labellers"}  # named in the row of their parent
    tops = ("anyseek", "api", "workers", "indexer", "search", "model")
    folders = {path.parent.relative_to(ROOT) for top in tops for path in (ROOT / top).rglob("*.py")}
    ideas = {str(folder) for folder in folders if folder.name != "training"}  # which only holds folders
    assert ideas - named == set()
