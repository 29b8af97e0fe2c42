"""Words that a part of a query and an item have in common, as full text compares words."""

from collections.abc import Mapping

from anyseek.search.explanation import SharedWord
from anyseek.search.types import Item, Part, Words
from anyseek.search.words import words_by_field, words_of

# Words of captions and file names that say nothing alone.
_EMPTY = frozenset(
    words_of("a an and are at by for from in is it its of on or the this that to with png jpg jpeg webp")
)
# Attributes that say what the file of a picture is, and not what it shows.
_OF_FILES = frozenset({"width", "height", "orientation", "format"})
# A longer text that two items have word for word, such as a licence, is of many items.
_LONGEST_ALIKE = 3


def shared_words(part: Part | Words, item: Item, likened: Mapping[str, Item]) -> tuple[SharedWord, ...]:
    """The words of a part's text in `item`, with the fields that have them; of an item, those of `likened` by its key.

    Words that say nothing, such as "of", count only where they were looked for as words.
    """
    held = words_by_field(item.key, item.caption, item.attributes)
    if isinstance(part, Words):
        wanted = words_of(part.text)
    elif (other := likened.get(part.item or "")) is not None:
        held = _telling(item, "")
        wanted = _of_item(_telling(other, ""), held)
    else:
        wanted = words_of(part.value) if isinstance(part.value, str) else []
    if isinstance(part, Part):
        wanted = [word for word in wanted if word not in _EMPTY]
    found = {word: tuple(name for name, words in held.items() if word in words) for word in dict.fromkeys(wanted)}
    return tuple(SharedWord(word, fields) for word, fields in found.items() if fields)


def _telling(item: Item, key: str) -> dict[str, frozenset[str]]:
    """The words of the fields that say what an item is: not addresses and facts of its file."""
    told = {name: value for name, value in item.attributes.items() if not (isinstance(value, str) and "://" in value)}
    return {name: words for name, words in words_by_field(key, item.caption, told).items() if name not in _OF_FILES}


def _of_item(fields: Mapping[str, frozenset[str]], others: Mapping[str, frozenset[str]]) -> list[str]:
    """The words of one item that may tell why another is like it; numbers do not."""
    own = [words for name, words in fields.items() if len(words) <= _LONGEST_ALIKE or words != others.get(name)]
    return [word for words in own for word in sorted(words) if not word.isdigit()]
