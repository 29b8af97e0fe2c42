"""mkdocs's hooks: the navigation is that of docs/README.md, and the pages of the root are pages of the site.

So the documents need no second index, and their links stay those that work in the repository.
"""

import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
INDEX = "README.md"
# Pages of the root and what they are called on the site; other files that documents link to come as they are.
PROJECT = {
    "README.md": "about.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "SECURITY.md": "reporting.md",
}
ALSO = ("LICENSE", "model/galleries/LICENSE.emojibase-data.txt", "model/galleries/rooms/CREDITS.txt")

_SECTION = re.compile(r"^## ([^:\n]+)", re.MULTILINE)
_ENTRY = re.compile(r"^- \[([^\]]+)\]\(([^)]+\.md)\)", re.MULTILINE)
_LINK = re.compile(r"\]\((?!https?:|#)([^)#\s]+)((?:#[^)\s]+)?)\)")
_FENCE = re.compile(r"^ *```.*?^ *```", re.DOTALL | re.MULTILINE)
_LIST = re.compile(r"^(?! *(?:[-*]|\d+\.) |\s*$|\||#)(.+)\n(?=(?:[-*]|\d+\.) )", re.MULTILINE)
_IN_LIST = re.compile(r"^(?:  +)", re.MULTILINE)


def on_config(config: Any) -> Any:
    """Take the navigation from the index: its sections and their pages."""
    text = (ROOT / "docs" / INDEX).read_text(encoding="utf-8")
    starts = [*_SECTION.finditer(text)]
    ends = [start.start() for start in starts[1:]] + [len(text)]
    sections = [
        {start[1]: [{title: page} for title, page in _ENTRY.findall(text, start.end(), end)]}
        for start, end in zip(starts, ends, strict=True)
    ]
    project = [{"About": "about.md"}, {"Contributing": "contributing.md"}, {"Changelog": "changelog.md"}]
    config.nav = [{"Contents": INDEX}, *sections, {"Project": [*project, {"Reporting a hole": "reporting.md"}]}]
    return config


def on_files(files: Any, config: Any) -> Any:
    """Add what documents link to outside their folder."""
    from mkdocs.structure.files import File

    for name, called in PROJECT.items():
        files.append(File.generated(config, called, content=(ROOT / name).read_text(encoding="utf-8")))
    for name in ALSO:
        files.append(File.generated(config, _also(name), content=(ROOT / name).read_text(encoding="utf-8")))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Point links at the site's pages, and set lists off from what stands before them, as this Markdown wants it."""
    is_of_root = page.file.src_uri in PROJECT.values()
    parts, last = [], 0
    for fence in [*_FENCE.finditer(markdown), None]:
        end = fence.start() if fence else len(markdown)
        parts.append(set_off(relinked(markdown[last:end], is_of_root)))
        if fence:
            parts.append(fence[0])
            last = fence.end()
    return "".join(parts)


def relinked(markdown: str, is_of_root: bool) -> str:
    """The text with links as the site has them; those of the root's pages begin in the root."""

    def link(found: re.Match[str]) -> str:
        return f"]({_target(found[1], is_of_root)}{found[2]})"

    return _LINK.sub(link, markdown)


def set_off(markdown: str) -> str:
    """The text with an empty line before each list that follows a paragraph at once."""
    return _LIST.sub(lambda found: found[0] if _IN_LIST.match(found[1]) else f"{found[1]}\n\n", markdown)


def _target(path: str, is_of_root: bool) -> str:
    name = path.removeprefix("../") if not is_of_root else path
    if (is_of_root or name != path) and name in PROJECT:
        return PROJECT[name]
    if (is_of_root or name != path) and name in ALSO:
        return _also(name)
    return path.removeprefix("docs/") if is_of_root else path


def _also(name: str) -> str:
    found = Path(name).name
    return found if found.endswith(".txt") else f"{found}.txt"
