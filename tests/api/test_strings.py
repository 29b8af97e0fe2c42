"""The page's texts: every language has all of them, the page uses each, and no script or HTML has others."""

import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

import anyseek.api

WEB = Path(anyseek.api.__file__).parent / "web"
LANGUAGES = {key: {"one", "other"} for key in ("en", "de", "fr", "es")} | {"zh": {"other"}}
TEXTS: dict[str, dict[str, Any]] = {
    language: json.loads((WEB / "strings" / f"{language}.json").read_text(encoding="utf-8")) for language in LANGUAGES
}
SCRIPTS = {path.name: path.read_text(encoding="utf-8") for path in sorted(WEB.glob("*.js"))}
PAGES = ("index.html", "map.html")  # docs.html shows the API, which is in English
# Keys with names that the service gives; they are looked up by these names.
NAMED = ("kind.", "space.", "field.", "colour.")

# A regular expression, a string, a template, or a comment.
_TOKEN = re.compile(
    r"""(?<=[(\[,=:?&|])\s*/(?![/*])(?:[^/\\\n\[]|\\.|\[(?:[^\]\\\n]|\\.)*\])+/[a-z]*"""
    r"""|(?P<text>"(?:[^"\\\n]|\\.)*"|`(?:[^`\\]|\\.)*`)|//[^\n]*""",
    re.VERBOSE,
)
# Code that takes texts nobody reads: classes, selectors, headers, events and keys of keyboards.
_CODE_BEFORE = re.compile(
    r"(class(Name)?: [^,]*|className = |querySelector(All)?\(|closest\(|matchMedia\(|event\.key === |header\w* = )$"
)
_CODE = re.compile(
    r"^(anyseek (index|serve)|ANYSEEK_ROOTS=|\{'descr'|Bearer |IMG$|Files$|Arrow\w+$|px px$|nothing good was found$)"
    r"|>=|<=| in \(|starts with|^ and $"
)


def test_every_language_has_the_same_keys_in_the_same_order() -> None:
    for language, texts in TEXTS.items():
        assert list(texts) == list(TEXTS["en"]), language


@pytest.mark.parametrize("language", LANGUAGES)
def test_texts_have_the_placeholders_of_the_english_ones_and_the_plurals_of_their_language(language: str) -> None:
    for key, text in TEXTS[language].items():
        forms = text if isinstance(text, dict) else {"": text}
        english = TEXTS["en"][key]
        assert isinstance(english, dict) == isinstance(text, dict), key
        assert isinstance(text, str) or set(text) == LANGUAGES[language], key
        for form in forms.values():
            assert form.strip(), key
            assert _placeholders(form) == _placeholders(english["other"] if isinstance(english, dict) else english), key


def _placeholders(text: str) -> set[str]:
    return set(re.findall(r"\{(\w+)\}", text))


def test_the_page_uses_every_key_and_no_other() -> None:
    literals = {text for script in SCRIPTS.values() for text, _ in _literals(script)}
    pages = [(WEB / page).read_text(encoding="utf-8") for page in PAGES]
    used = literals | {key for page in pages for key in re.findall(r'data-t[\w-]*="([^"]+)"', page)}
    known = set(TEXTS["en"])
    assert {key for key in known - used if not key.startswith(NAMED)} == set()
    families = {key.partition(".")[0] for key in known}
    keys = {text for text in used if re.fullmatch(r"[a-z]+\.[a-z-]+", text) and text.partition(".")[0] in families}
    assert keys - known == set()


def test_modalities_and_colours_of_the_page_have_names() -> None:
    modalities = set(re.findall(r"^  (\w+): \{", SCRIPTS["kinds.js"], re.MULTILINE))
    assert modalities == {key[5:] for key in TEXTS["en"] if key.startswith("kind.") and not key.endswith(".short")}
    colours = set(re.findall(r'\["#\w+", "(\w+)"\]', SCRIPTS["palette.js"]))
    assert colours == {key[7:] for key in TEXTS["en"] if key.startswith("colour.")}


@pytest.mark.parametrize("name", SCRIPTS)
def test_no_text_is_left_in_a_script(name: str) -> None:
    found = [
        text
        for text, before in _literals(SCRIPTS[name])
        if re.search(r"[A-Za-z]{2,},? [a-z]{2,}|^[A-Z][a-z]+[.?!… ]*$|^[A-Z][a-z]+,? ", text)
        and not _CODE_BEFORE.search(before)
        and not _CODE.search(text)
    ]
    assert found == []


def test_a_text_in_a_script_would_be_seen() -> None:
    script = 'make("p", {}, "Nothing here"); // "a comment"\nshow(`All of ${name}`); quote(/["]/g); title = "Close";'
    assert [text for text, _ in _literals(script)] == ["p", "Nothing here", "All of ", "Close"]


def _literals(script: str) -> Iterator[tuple[str, str]]:
    """The strings and templates of a script, without what templates fill in, each with the code before it."""
    for match in _TOKEN.finditer(script):
        if match["text"]:
            text = re.sub(r"\$\{[^}]*\}?", "", match["text"][1:-1])
            yield text, script[max(0, match.start() - 60) : match.start()]


class _Page(HTMLParser):
    """Collects the texts of a page and of the attributes that people read."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.texts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in ("meta", "link", "img", "input", "path", "circle", "rect"):
            self.open.append(tag)
        self.texts += [
            value for name, value in attrs if value and name in ("aria-label", "placeholder", "title", "alt")
        ]

    def handle_endtag(self, tag: str) -> None:
        if tag in self.open:
            del self.open[len(self.open) - 1 - self.open[::-1].index(tag) :]

    def handle_data(self, data: str) -> None:
        if data.strip(" ·\n/") and not {"noscript", "code", "title"} & set(self.open):
            self.texts.append(data.strip())


@pytest.mark.parametrize("page", PAGES)
def test_html_has_no_text_but_the_name_and_an_example(page: str) -> None:
    parser = _Page()
    parser.feed((WEB / page).read_text(encoding="utf-8"))
    assert set(parser.texts) <= {"anyseek", "taken >= 2024-05-01 and camera.make = Nikon"}
