"""In Qdrant a collection is a tenant of the points that the same weights have made."""

from contextlib import closing

from anyseek.search.catalogue import collections
from anyseek.search.catalogue.session import Database
from anyseek.search.settings import Settings
from anyseek.search.spaces.qdrant.backend import QdrantBackend, connect, name_of
from anyseek.search.types import Collection
from tests.search.gallery import WordsEmbedder, make_collection, put
from tests.search.live_spaces import head_of


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
        with live.reading() as view:
            assert view.count() == 2
        with database.write() as session:
            collections.delete(session, "things")
        backend.remove_unknown()
        assert client.count(name_of(head.spaces[0])).count == 2
