"""Texts as the words that full text compares: of an item's key, caption and attributes, and of a query.

Case, accents and an English plural make no difference. Signs of scripts that write no spaces are words each. What was
predicted of an item has no words, because nobody wrote it. The rules are applied here and not by a database, so that
all databases find the same.
"""

import re
import unicodedata
from collections.abc import Iterator

from anyseek.search.types import PREDICTED, Attributes

LONGEST_WORD = 40  # characters; what follows is cut off, in items and in queries
MOST_WORDS = 4_000  # of an item; more than PostgreSQL can index would be refused

_SPACELESS = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"  # kana and Han
_WORD = re.compile(rf"[{_SPACELESS}]|[^\W_{_SPACELESS}]+")


def words_of(text: str) -> list[str]:
    """The words of a text in their order."""
    return [_singular(word[:LONGEST_WORD]) for word in _WORD.findall(_folded(text))]


def words_by_field(key: str, caption: str | None, attributes: Attributes) -> dict[str, frozenset[str]]:
    """The words of an item's `key`, its `caption`, and of each attribute that has some, by its path."""
    texts = {"key": key, "caption": caption or ""}
    found = {name: frozenset(words_of(text)) for name, text in texts.items()}
    for name, value in _written(attributes).items():
        for path, inner in _by_path(name, value):
            found[path] = found.get(path, frozenset()) | frozenset(words_of(" ".join(_texts(inner))))
    return {name: words for name, words in found.items() if words}


def document(key: str, caption: str | None, attributes: Attributes) -> str:
    """The words by which an item is found, each once, with spaces between them."""
    found: dict[str, None] = {}
    for text in (key, caption or "", *_texts(_written(attributes))):
        found.update(dict.fromkeys(words_of(text)))
        if len(found) >= MOST_WORDS:
            break
    return " ".join(list(found)[:MOST_WORDS])


def _written(attributes: Attributes) -> Attributes:
    return {name: value for name, value in attributes.items() if name != PREDICTED}


def _folded(text: str) -> str:
    """The text without case, accents and compatibility forms; folding it again changes nothing."""
    plain = unicodedata.normalize("NFKD", text.casefold())
    plain = unicodedata.normalize("NFKD", plain.casefold())  # ™ and ℌ have only now become capitals
    return "".join(sign for sign in plain if not unicodedata.combining(sign))


def _texts(value: object) -> Iterator[str]:
    """The texts and whole numbers inside attributes; not their names."""
    if isinstance(value, dict):
        for inner in value.values():
            yield from _texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)
    elif isinstance(value, str) or (isinstance(value, int) and not isinstance(value, bool)):
        yield str(value) if isinstance(value, str) or abs(value) < 10**LONGEST_WORD else ""


def _by_path(path: str, value: object) -> Iterator[tuple[str, object]]:
    """The values inside an attribute by what a filter calls them: `camera.make`."""
    if not isinstance(value, dict):
        yield path, value
        return
    for name, inner in value.items():
        yield from _by_path(f"{path}.{name}", inner)


def _singular(word: str) -> str:
    """Harman's rules for an English plural, the mildest of stemmers."""
    if len(word) < 4 or not word.endswith("s") or word.endswith(("us", "ss")):
        return word
    if word.endswith("ies") and not word.endswith(("eies", "aies")):
        return f"{word[:-3]}y"
    return word[:-1]
