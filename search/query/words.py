"""Tokenises texts for full-text search: an item's key, caption and attributes, and the words of a query.

Case, accents and English plurals make no difference. Han, kana, Hangul, Thai, Lao, Khmer and Burmese do not put a space
between words, or put it where searches need none: there two neighbouring characters are a word. Predicted attributes
have no words, because nobody wrote them. The rules are applied here and not by a database, so that all databases find
the same.
"""

import re
import unicodedata
from collections.abc import Collection, Iterator
from itertools import chain, pairwise

from anyseek.search.types import PREDICTED, TAUGHT, Attributes

MAX_WORD_LENGTH = 40  # characters; what follows is cut off, in items and in queries
MAX_WORDS = 4_000  # of an item; more than PostgreSQL can index would be refused
_MAX_NAME_WORDS = 3  # without an article
_ARTICLES = frozenset({"a", "an", "the"})

# The blocks of scripts without spaces: Thai and Lao, Burmese, Khmer, kana, Han, Hangul, and Han of the other planes.
_SPACELESS = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7a3"
    "\uf900-\ufaff\U00020000-\U0003ffff"
)


def _vowel_signs() -> str:
    """The signs of Indic and other scripts that `\\w` does not match, although they are parts of words."""
    numbers = chain(range(0x900, 0x1D00), range(0xA800, 0xAC00), range(0x11000, 0x12000))
    return "".join(sign for sign in map(chr, numbers) if unicodedata.category(sign) in ("Mn", "Mc"))


_SIGNS = _vowel_signs()
_ASCII_WORD = re.compile("[a-z0-9]+")
_LETTER = rf"[^\W_{_SPACELESS}]"
_WORD = re.compile(
    rf"(?P<run>(?:(?=[^\W_]|[{_SIGNS}])[{_SPACELESS}])+)|{_LETTER}(?:{_LETTER}|(?![{_SPACELESS}])[{_SIGNS}])*"
)


def words_of(text: str) -> list[str]:
    """The words of a text in their order. Of a run without spaces: its pairs of characters, or its only character."""
    return [word for words, _ in _iter_runs(text) for word in words]


def terms_of(text: str) -> list[str]:
    """The words by which a text is found: `words_of`, and every single character of runs without spaces."""
    return [term for words, characters in _iter_runs(text) for term in (*words, *characters)]


def longest(words: Collection[str]) -> list[str]:
    """The words without those single characters of a script without spaces that another of them has."""
    pairs = "".join(word for word in words if len(word) > 1)
    return [word for word in words if len(word) > 1 or not (re.match(f"[{_SPACELESS}]", word) and word in pairs)]


def _iter_runs(text: str) -> Iterator[tuple[list[str], str]]:
    """The words of each run of letters, and its characters if it is one without spaces."""
    if text.isascii():  # the same, four times as fast
        yield from (([_singular(word[:MAX_WORD_LENGTH])], "") for word in _ASCII_WORD.findall(text.lower()))
        return
    for match in _WORD.finditer(_fold(text)):
        run = match["run"]
        if run is None:
            yield [_singular(match[0][:MAX_WORD_LENGTH])], ""
        else:
            yield ["".join(pair) for pair in pairwise(run)] or [run], run


def words_by_field(key: str, caption: str | None, attributes: Attributes) -> dict[str, frozenset[str]]:
    """The terms of an item's `key`, its `caption`, and of each attribute that has some, by its path."""
    texts = {"key": key, "caption": caption or ""}
    found = {name: frozenset(terms_of(text)) for name, text in texts.items()}
    for name, value in _without_predictions(attributes).items():
        for path, inner in _iter_paths(name, value):
            found[path] = found.get(path, frozenset()) | frozenset(terms_of(" ".join(_iter_texts(inner))))
    return {name: words for name, words in found.items() if words}


def document(key: str, caption: str | None, attributes: Attributes) -> str:
    """The terms of an item, each once, joined by spaces."""
    found: dict[str, None] = {}
    for text in (key, caption or "", *_iter_texts(_without_predictions(attributes))):
        found.update(dict.fromkeys(terms_of(text)))
        if len(found) >= MAX_WORDS:
            break
    return " ".join(list(found)[:MAX_WORDS])


def _without_predictions(attributes: Attributes) -> Attributes:
    return {name: value for name, value in attributes.items() if name not in (PREDICTED, TAUGHT)}


def _fold(text: str) -> str:
    """The text without case, accents and compatibility forms; folding it again changes nothing."""
    plain = unicodedata.normalize("NFKD", text.casefold())
    plain = unicodedata.normalize("NFKD", plain.casefold())  # ™ and ℌ have only now become capitals
    plain = "".join(sign for sign in plain if not unicodedata.combining(sign))
    return unicodedata.normalize("NFC", plain)  # makes syllables of Hangul's letters again


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
    """True for a text that names a thing: at most three words, besides an article.

    Two characters of a script without spaces are about a word.
    """
    runs = list(_iter_runs(text))
    is_article = bool(runs) and runs[0][0][0] in _ARTICLES
    count = sum((len(characters) + 1) // 2 or 1 for _, characters in runs[is_article:])
    return 1 <= count <= _MAX_NAME_WORDS
