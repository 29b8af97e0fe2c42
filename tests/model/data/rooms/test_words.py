import pytest

from model.data.rooms.words import listed, number_word, plural, sentence, with_article


@pytest.mark.parametrize(
    ("noun", "expected"),
    [
        ("table", "tables"),
        ("office chair", "office chairs"),
        ("set of shelves", "sets of shelves"),
        ("loaf of bread", "loaves of bread"),
        ("pair of shoes", "pairs of shoes"),
        ("woman", "women"),
        ("shelf", "shelves"),
        ("bench", "benches"),
        ("couch", "couches"),
        ("vanity", "vanities"),
        ("tray", "trays"),
        ("potted plant", "potted plants"),
        ("box", "boxes"),
    ],
)
def test_plurals(noun: str, expected: str) -> None:
    assert plural(noun) == expected


def test_articles_lists_and_numbers() -> None:
    assert with_article("armchair") == "an armchair"
    assert with_article("orange bin") == "an orange bin"
    assert with_article("upright piano") == "an upright piano"
    assert with_article("table") == "a table"
    assert listed(["a"]) == "a"
    assert listed(["a", "b"]) == "a and b"
    assert listed(["a", "b", "c"]) == "a, b and c"
    assert number_word(2) == "two"
    assert number_word(12) == "12"
    assert sentence("a TV on a table") == "A TV on a table."
