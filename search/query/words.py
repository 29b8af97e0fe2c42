"""Tokenises texts for full-text search: an item's key, caption and attributes, and the words of a query.

Case, accents and English plurals make no difference. In scripts without spaces each character is a word. Predicted
attributes have no words, because nobody wrote them. The rules are applied here and not by a database, so that all
databases find the same.
"""

import re
import unicodedata
from collections.abc import Iterator

from anyseek.search.types import PREDICTED, Attributes

MAX_WORD_LENGTH = 40  # characters; what follows is cut off, in items and in queries
MAX_WORDS = 4_000  # of an item; more than PostgreSQL can index would be refused
_MAX_NAME_WORDS = 3  # without an article
_ARTICLES = frozenset({"a", "an", "the"})

_SPACELESS = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"  # kana and Han
_WORD = re.compile(rf"[{_SPACELESS}]|[^\W_{_SPACELESS}]+")


def words_of(text: str) -> list[str]:
    """The words of a text in their order."""
    return [_singular(word[:MAX_WORD_LENGTH]) for word in _WORD.findall(_fold(text))]


def words_by_field(key: str, caption: str | None, attributes: Attributes) -> dict[str, frozenset[str]]:
    """The words of an item's `key`, its `caption`, and of each attribute that has some, by its path."""
    texts = {"key": key, "caption": caption or ""}
    found = {name: frozenset(words_of(text)) for name, text in texts.items()}
    for name, value in _without_predictions(attributes).items():
        for path, inner in _iter_paths(name, value):
            found[path] = found.get(path, frozenset()) | frozenset(words_of(" ".join(_iter_texts(inner))))
    return {name: words for name, words in found.items() if words}


def document(key: str, caption: str | None, attributes: Attributes) -> str:
    """The searchable words of an item, each once, joined by spaces."""
    found: dict[str, None] = {}
    for text in (key, caption or "", *_iter_texts(_without_predictions(attributes))):
        found.update(dict.fromkeys(words_of(text)))
        if len(found) >= MAX_WORDS:
            break
    return " ".join(list(found)[:MAX_WORDS])


def _without_predictions(attributes: Attributes) -> Attributes:
    return {name: value for name, value in attributes.items() if name != PREDICTED}


def _fold(text: str) -> str:
    """The text without case, accents and compatibility forms; folding it again changes nothing."""
    plain = unicodedata.normalize("NFKD", text.casefold())
    plain = unicodedata.normalize("NFKD", plain.casefold())  # ™ and ℌ have only now become capitals
    return "".join(sign for sign in plain if not unicodedata.combining(sign))


def _iter_texts(value: object) -> Iterator[str]:
    """The texts and integers inside attributes, without the attributes' names."""
    if isinstance(value, dict):
        for inner in value.values():
            yield from _iter_texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _iter_texts(inner)
    elif isinstance(value, str) or (isinstance(value, int) and not isinstance(value, bool)):
        yield str(value) if isinstance(value, str) or abs(value) < 10**MAX_WORD_LENGTH else ""


def _iter_paths(path: str, value: object) -> Iterator[tuple[str, object]]:
    """The values inside an attribute with their paths as in filters: `camera.make`."""
    if not isinstance(value, dict):
        yield path, value
        return
    for name, inner in value.items():
        yield from _iter_paths(f"{path}.{name}", inner)


def _singular(word: str) -> str:
    """Harman's rules for an English plural, the mildest of stemmers."""
    if len(word) < 4 or not word.endswith("s") or word.endswith(("us", "ss")):
        return word
    if word.endswith("ies") and not word.endswith(("eies", "aies")):
        return f"{word[:-3]}y"
    return word[:-1]


def is_name(text: str) -> bool:
    """True for a text that names a thing: at most three words, besides an article."""
    words = words_of(text)
    return 1 <= len(words[1:] if words and words[0] in _ARTICLES else words) <= _MAX_NAME_WORDS
