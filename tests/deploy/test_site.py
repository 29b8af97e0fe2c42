"""`make docs`: the site has every page, its navigation is that of docs/README.md, and no link leads nowhere."""

import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from deploy import site

ROOT = Path(__file__).parents[2]


def test_the_navigation_is_that_of_the_index() -> None:
    sections = site.on_config(SimpleNamespace(nav=None)).nav
    assert [name for section in sections for name in section] == [
        "Contents", "Tutorial", "How-to", "Reference", "Explanation", "Project",
    ]  # fmt: skip
    named = {
        page for section in sections[1:-1] for pages in section.values() for entry in pages for page in entry.values()
    }
    assert named == {page.name for page in (ROOT / "docs").glob("*.md")} - {"README.md"}


@pytest.mark.parametrize(
    ("written", "is_of_root", "wanted"),
    [
        ("[a](api.md#limits)", False, "[a](api.md#limits)"),
        ("[a](../README.md#yet)", False, "[a](about.md#yet)"),
        ("[a](docs/api.md#limits)", True, "[a](api.md#limits)"),
        ("![a](docs/page.png)", True, "![a](page.png)"),
        ("[a](LICENSE)", True, "[a](LICENSE.txt)"),
        ("[a](https://x/README.md)", True, "[a](https://x/README.md)"),
    ],
)
def test_links_lead_to_the_sites_pages(written: str, is_of_root: bool, wanted: str) -> None:
    assert site.relinked(written, is_of_root) == wanted


def test_a_list_is_set_off_and_code_is_left_alone() -> None:
    assert site.set_off("said:\n- a\n- b\n") == "said:\n\n- a\n- b\n"
    assert site.set_off("- a\n  more\n- b\n") == "- a\n  more\n- b\n"
    page = SimpleNamespace(file=SimpleNamespace(src_uri="api.md"))
    code = "```sh\nsaid\n- a [b](../README.md)\n```\n"
    assert site.on_page_markdown(code, page) == code


@pytest.mark.slow
def test_the_site_is_built_and_links_nowhere_wrong(tmp_path: Path) -> None:
    pytest.importorskip("material", reason="it is in the extra docs")
    command = [sys.executable, "-m", "mkdocs", "build", "-d", str(tmp_path / "site")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    built = {page.stem for page in (tmp_path / "site").glob("*.html")}
    assert {page.stem for page in (ROOT / "docs").glob("*.md")} - {"README"} <= built
    assert {"index", "about", "contributing", "changelog", "reporting"} <= built
    assert "http" not in "".join(
        line
        for line in (tmp_path / "site" / "index.html").read_text().splitlines()
        if "<script" in line or "stylesheet" in line
    )


@pytest.mark.slow
def test_a_link_that_leads_nowhere_ends_the_build(tmp_path: Path) -> None:
    pytest.importorskip("material", reason="it is in the extra docs")
    for name in ("docs", "deploy"):
        shutil.copytree(ROOT / name, tmp_path / name)
    for name in (*site.PROJECT, "mkdocs.yml", *site.ALSO):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    with (tmp_path / "docs" / "api.md").open("a") as page:
        page.write("\n[nowhere](indexing.md#no-such-heading)\n")
    command = [sys.executable, "-m", "mkdocs", "build", "-d", str(tmp_path / "site")]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "no-such-heading" in done.stderr
