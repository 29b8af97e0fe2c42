"""English for captions: articles, plurals, numbers and lists."""

_IRREGULAR = {
    "man": "men",
    "woman": "women",
    "shelf": "shelves",
    "loaf": "loaves",
    "cactus": "cacti",
    "box": "boxes",
    "bench": "benches",
    "couch": "couches",
    "bush": "bushes",
    "press": "presses",
    "glass": "glasses",
    "radio": "radios",
    "stereo": "stereos",
    "piano": "pianos",
    "sandwich": "sandwiches",
}
_NUMBERS = {2: "two", 3: "three", 4: "four", 5: "five", 6: "six", 7: "seven", 8: "eight", 9: "nine"}
_HEADS = (" of ", " with ")  # what ends the part of a noun that has the plural


def with_article(words: str) -> str:
    """Such as "a table", "an armchair"."""
    return f"{'an' if words[0] in 'aeiouAEIOU' else 'a'} {words}"


def plural(noun: str) -> str:
    """Such as "tables", "sets of shelves", "office chairs"."""
    for mark in _HEADS:
        if mark in noun:
            head, _, rest = noun.partition(mark)
            return f"{plural(head)}{mark}{rest}"
    first, space, last = noun.rpartition(" ")
    if last in _IRREGULAR:
        return f"{first}{space}{_IRREGULAR[last]}"
    if last.endswith("y") and last[-2] not in "aeiou":
        return f"{first}{space}{last[:-1]}ies"
    return f"{noun}s"


def number_word(count: int) -> str:
    """The words "two" to "nine"; figures above."""
    return _NUMBERS.get(count, str(count))


def listed(parts: list[str]) -> str:
    """Such as "a", "a and b", "a, b and c"."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def sentence(words: str) -> str:
    """With a capital and a full stop."""
    return f"{words[0].upper()}{words[1:]}."
