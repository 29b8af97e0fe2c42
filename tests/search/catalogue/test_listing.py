"""Pages of items that pass a filter have each of them once."""

from anyseek.search.catalogue import listing
from anyseek.search.catalogue.listing import Order, Position, spaced_ids
from anyseek.search.catalogue.session import Database
from anyseek.search.filters.from_text import filter_from_text
from anyseek.search.types import Collection
from tests.search.gallery import WordsEmbedder, make_collection, put

KEYS = [f"{number:04}" for number in range(400)]


def test_all_pages_together_have_each_item_once(
    database: Database, collection: Collection, embedder: WordsEmbedder
) -> None:
    put(database, collection, embedder, KEYS)
    for text, wanted in (
        ("words >= '0100' and not words = '0350'", [key for key in KEYS if key >= "0100" and key != "0350"]),
        ("words starts with '03'", KEYS[300:]),
        ("words = none", []),
    ):
        seen: list[str] = []
        after: Position | None = None
        with database.read() as session:
            while page := listing.page(session, collection, Order.KEY, after, 70, filter_from_text(text)):
                seen += [item.key for item, _ in page]
                after = page[-1][1]
        assert seen == wanted


def test_a_collection_that_was_filled_beside_another_has_a_whole_sample(
    database: Database, embedder: WordsEmbedder
) -> None:
    first, second = make_collection(database, embedder, "first"), make_collection(database, embedder, "second")
    for number in range(20):
        put(database, first, embedder, [f"a {number}"])
        put(database, second, embedder, [f"b {number}"])
    with database.read() as session:
        samples = [spaced_ids(session, made.id, 20, 10) for made in (first, second)]
    assert [len(ids) for ids in samples] == [10, 10]
    assert not set(samples[0]) & set(samples[1])
