"""In Qdrant a collection is a tenant of the points that the same weights have made."""

from collections.abc import Iterable
from contextlib import closing
from dataclasses import replace

from anyseek.search.catalogue import collections, space_switch
from anyseek.search.catalogue.session import Database
from anyseek.search.engine import SearchEngine
from anyseek.search.filters.from_text import filter_from_text
from anyseek.search.settings import Index, Settings
from anyseek.search.spaces.base import LiveSpace
from anyseek.search.spaces.qdrant.backend import QdrantBackend, connect, name_of
from anyseek.search.types import Collection, Query
from anyseek.search.upkeep.rebuild import rebuild
from anyseek.search.upkeep.verify import verify
from tests.search.gallery import WordsEmbedder, keys, make_collection, put, text


def head_of(database: Database, name: str = "things") -> collections.Head:
    with database.read() as session:
        return collections.head(session, name)


def counts(spaces: Iterable[LiveSpace]) -> list[int]:
    """How many points Qdrant holds of each."""
    found = []
    for space in spaces:
        with space.reading() as view:
            found.append(view.count())
    return found


def switch_model(database: Database, collection: Collection, embedder: WordsEmbedder) -> None:
    """Keep the collection's spaces beside those of newer weights, which have no vectors."""
    newer = [replace(space, fingerprint="newer") for space in embedder.spaces.values()]
    with database.write() as session:
        space_switch.build(session, collection, "newer", newer)
        target = space_switch.target(session, collection.id)
        assert target is not None
        space_switch.switch(session, target)


def test_two_collections_share_a_qdrant_collection_and_see_their_own(
    database: Database, settings: Settings, embedder: WordsEmbedder, collection: Collection
) -> None:
    other = make_collection(database, embedder, "other")
    put(database, collection, embedder, ["x"])
    put(database, other, embedder, ["y", "z"])
    with closing(connect(":memory:")) as client:
        backend = QdrantBackend(database, settings, client)
        for name in ("things", "other"):
            head = head_of(database, name)
            live = backend.open(head, head.spaces[0])
            live.refresh(head)
        assert [held.name for held in client.get_collections().collections] == [name_of(head.spaces[0])]
        assert counts([live]) == [2]
        with database.write() as session:
            collections.delete(session, "things")
        backend.remove_unknown()
        assert client.count(name_of(head.spaces[0])).count == 2


def test_spaces_that_are_forgotten_are_removed(
    database: Database, settings: Settings, embedder: WordsEmbedder, collection: Collection
) -> None:
    """And nothing else of their Qdrant collection, which another collection has points in."""
    backend = QdrantBackend(database, settings)
    other = make_collection(database, embedder, "other")
    opened = []
    for held in (collection, other):
        put(database, held, embedder, ["x", "y"])
        head = head_of(database, held.name)
        for space in head.spaces:
            opened.append(backend.open(head, space))
            opened[-1].refresh(head)
    switch_model(database, collection, embedder)
    backend.remove_unknown()
    assert counts(opened) == [2, 2, 2, 2], "kept ones may serve again"
    with database.write() as session:
        space_switch.forget(session, collection)
    backend.remove_unknown()
    assert counts(opened) == [0, 0, 2, 2]
    backend.close()


def test_the_engine_uses_qdrant_where_the_settings_say_so(
    database: Database, settings: Settings, embedder: WordsEmbedder, collection: Collection
) -> None:
    settings = replace(settings, index=Index(backend="qdrant"))
    engine = SearchEngine(database, settings, embedder)
    put(database, collection, embedder, ["cat", "dog", "tree"])
    assert keys(engine.query("things", Query((text("cat"),), k=2)))[0] == "cat"
    where = filter_from_text("@key in (dog, tree)")
    assert set(keys(engine.query("things", Query((text("cat"),), k=5, where=where)))) == {"dog", "tree"}
    assert engine.write_snapshots("things")
    assert not settings.indexes.exists()
    engine.close()
    assert verify(database, settings) == []
    assert rebuild(database, settings, "things") == []
    assert verify(database, settings) == []
