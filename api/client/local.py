"""The client's verbs done in this process, for commands where no service runs.

What a verb needs besides the catalogue is imported by that verb, so that a listing starts at once.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from functools import cached_property, partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Unpack

from sqlalchemy.orm import Session

from anyseek.api.predictions.wire import Input, Predictions
from anyseek.api.queries.wire import (
    DEFAULT_HITS,
    Fusion,
    More,
    Parts,
    Query,
    Refusal,
    Results,
    Where,
    parts_of,
    spelled_out,
)
from anyseek.api.schemas import (
    CollectionAnswer,
    DuplicatesAnswer,
    FieldAnswer,
    ItemAnswer,
    passing,
    patch_of,
    read_patch,
)
from anyseek.model.compute.importing import importing
from anyseek.model.compute.processors import prepare_process
from anyseek.search.catalogue import collections, facet_counts, items, listing
from anyseek.search.catalogue.listing import Order, Place
from anyseek.search.catalogue.upgrade import open_database
from anyseek.search.errors import AssetNotFound
from anyseek.search.settings import Settings
from anyseek.search.types import Collection, Item
from anyseek.search.types import Query as EngineQuery
from anyseek.search.upkeep.derived import DerivedRows

if TYPE_CHECKING:
    from anyseek.api.predictions.predictor import Predictor
    from anyseek.indexer.runs import Tools
    from anyseek.search.catalogue.patching import Versions
    from anyseek.search.engine import SearchEngine
    from anyseek.workers.runtime import Runtime


class LocalClient:
    """A client that opens the data directory itself. A query loads the model of its collection.

    Raises domain errors where `anyseek.api.client.http.Client` raises `ApiError`. `model` is the model of new
    collections.
    """

    def __init__(self, settings: Settings, model: str | None = None) -> None:
        self._open = ExitStack()
        self._settings, self._model = settings, model
        self._database = self._open.enter_context(closing(open_database(settings)))
        prepare_process(settings.threads)  # the predictor loads its model without the runtime

    def __enter__(self) -> "LocalClient":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    @cached_property
    def _runtime(self) -> "Runtime":
        with importing("anyseek.workers.runtime"):
            from anyseek.workers.runtime import Runtime

        return self._open.enter_context(Runtime.open(self._settings, self._model, self._database))

    @cached_property
    def _derived(self) -> DerivedRows:
        return DerivedRows(self._database)

    @cached_property
    def _predictor(self) -> "Predictor":
        from anyseek.api.predictions.predictor import Predictor

        settings = self._runtime.settings
        return Predictor(settings.home, self._runtime.model, device=settings.device, switches=settings.switches)

    def query(
        self,
        collection: str | Sequence[str],
        parts: Parts,
        k: int = DEFAULT_HITS,
        space: str | None = None,
        where: Where | None = None,
        fusion: Fusion | None = None,
        **more: Unpack[More],
    ) -> Results:
        """See `Client.query`."""
        from anyseek.api.queries.conversion import read_query, results_to_wire

        asked = Query(parts_of(parts), k, space, where, fusion, **more)
        first = collection if isinstance(collection, str) else next(iter(collection), "")
        read: list[EngineQuery] = []

        def decoded(engine: "SearchEngine") -> EngineQuery:
            read.append(read_query(asked, self._settings.limits, engine.embedder, self._runtime.pictures_of(first)))
            return read[-1]

        if isinstance(collection, str):
            engine = self._engine(collection)
            results = engine.query(collection, decoded(engine))
        else:
            from anyseek.search.query.multi_collection import query_several

            results = query_several(list(collection), self._engine, decoded)
        return results_to_wire(results, True, read[0])

    def query_batch(
        self, collection: str, queries: Sequence[str | Query | Mapping[str, Any]]
    ) -> list[Results | Refusal]:
        """See `Client.query_batch`."""
        from anyseek.api.queries.conversion import answer_batch, outcome_to_wire

        asked = [spelled_out(query) for query in queries]
        pictures = self._runtime.pictures_of(collection)
        outcomes = answer_batch(self._engine(collection), self._settings.limits, collection, asked, pictures)
        return [outcome_to_wire(outcome) for outcome in outcomes]

    def predict(
        self,
        inputs: Sequence[Input],
        targets: Sequence[str],
        model: str | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> Predictions:
        """See `Client.predict`."""
        from anyseek.api.predictions.requests import read_request

        members = {"inputs": list(inputs), "targets": list(targets), "model": model, "options": options or {}}
        return self._predictor.predict(read_request(members, self._settings.limits))

    def collections(self) -> list[dict[str, Any]]:
        with self._database.read() as session:
            return [_as_json(session, found) for found in collections.list_all(session)]

    def collection(self, name: str) -> dict[str, Any]:
        with self._database.read() as session:
            return _as_json(session, collections.get(session, name))

    def items(self, collection: str, page_size: int = 500, where: str | None = None) -> Iterator[dict[str, Any]]:
        """See `Client.items`."""
        wanted = passing(where)
        after: Place | None = None
        if wanted is not None:
            self._derived.facets.check()
        while True:
            with self._database.read() as session:
                held = collections.get(session, collection)
                page = listing.page(session, held, Order.KEY, after, page_size, wanted)
            yield from (_item_json(item) for item, _ in page)
            if len(page) < page_size:
                return
            after = page[-1][1]

    def facets(
        self, collection: str, where: str | None = None, fields: int = 50, values: int = 20
    ) -> list[dict[str, Any]]:
        """See `Client.facets`."""
        wanted = passing(where)
        self._derived.facets.check()
        with self._database.read() as session:
            found = facet_counts.count(session, collections.get(session, collection).id, fields, values, wanted)
        return [FieldAnswer.of(counted).model_dump(mode="json") for counted in found]

    def get_item(self, collection: str, key: str) -> dict[str, Any]:
        """See `Client.get_item`."""
        with self._database.read() as session:
            return _item_json(items.get(session, collections.get(session, collection), key))

    def patch_item(
        self, collection: str, key: str, changes: Mapping[str, Any], etag: str | None = None
    ) -> dict[str, Any]:
        """See `Client.patch_item`."""
        from anyseek.indexer.patching import patch_item

        patch = patch_of(read_patch(changes), self._settings.limits)
        tools = partial(self._tools, collection)
        return _item_json(patch_item(self._database, tools, collection, key, patch, _versions(etag)))

    def delete_item(self, collection: str, key: str, etag: str | None = None) -> None:
        """See `Client.delete_item`."""
        from anyseek.indexer.put import delete_item

        with self._database.write() as session:
            delete_item(session, collection, key, _versions(etag))

    def thumbnail(self, collection: str, key: str) -> bytes:
        """See `Client.thumbnail`. Raises `CollectionNotFound`, `ItemNotFound`, `AssetNotFound`, `StoreCorrupt`."""
        with self._database.read() as session:
            item = items.get(session, collections.get(session, collection), key)
        from anyseek.indexer.samples import THUMBNAIL

        small = item.assets.get(THUMBNAIL)
        if small is None:
            raise AssetNotFound(f"the item {key!r} has no {THUMBNAIL}")
        return self._runtime.assets.read(small)

    def create_collection(self, name: str) -> dict[str, Any]:
        """See `Client.create_collection`."""
        embedder = self._runtime.embedder
        with self._database.write() as session:
            return _as_json(session, collections.create(session, name, embedder.name, embedder.spaces.values()))

    def delete_collection(self, name: str) -> None:
        with self._database.write() as session:
            collections.delete(session, name)

    def reembed(self, name: str, model: str) -> dict[str, Any]:
        """See `Client.reembed`; the job stops with this process, and continues when it is started again."""
        return self.job(self._runtime.submit_reembed(name, model))

    def rollback(self, name: str) -> dict[str, Any]:
        """See `Client.rollback`, and `reembed`."""
        return self.job(self._runtime.submit_rollback(name))

    def switch(self, name: str) -> int:
        """See `Client.switch`."""
        return self._runtime.switch(name)

    def forget_old(self, name: str) -> None:
        """See `Client.forget_old`."""
        self._runtime.forget_old(name)

    def tune(self, name: str, items: int | None = None, dry_run: bool = False) -> dict[str, Any]:
        """See `Client.tune`."""
        from anyseek.api.routes.collections import TunedAnswer
        from anyseek.indexer.tuning import DEFAULT_ITEMS, tune

        tuned = tune(self._tools(name), name, DEFAULT_ITEMS if items is None else items, dry_run)
        return TunedAnswer.of(tuned, dry_run).model_dump(mode="json")

    def reset_tuning(self, name: str) -> None:
        """See `Client.reset_tuning`."""
        from anyseek.indexer.tuning import reset

        reset(self._database, name)

    def duplicates(self, name: str, limit: int = 1000) -> dict[str, Any]:
        """See `Client.duplicates`."""
        tools = self._tools(name)
        found = tools.engine.duplicates(name, tools.assets)
        return DuplicatesAnswer.of(found, limit, with_paths=True).model_dump(mode="json")

    def map(
        self, name: str, space: str | None = None, colour_by: str | None = None, limit: int = 5_000, seed: int = 0
    ) -> dict[str, Any]:
        """See `Client.map`."""
        from anyseek.api.routes.maps import MapAnswer
        from anyseek.search.maps import MapRequest

        found = self._engine(name).map(name, MapRequest(space, colour_by, limit, seed))
        return MapAnswer.of(found, colour_by is not None).model_dump(mode="json")

    def job(self, number: int) -> dict[str, Any]:
        """See `Client.job`."""
        from anyseek.api.routes.jobs import JobAnswer

        return JobAnswer.of(self._runtime.queue.status(number)).model_dump(mode="json")

    def _engine(self, collection: str) -> "SearchEngine":
        return self._tools(collection).engine

    def _tools(self, collection: str) -> "Tools":
        """The tools with the collection's model, which is loaded once. Raises `CollectionNotFound`."""
        with self._database.read() as session:
            model = collections.get(session, collection).model
        return self._runtime.tools_of(model)


def _versions(etag: str | None) -> "Versions | None":
    return None if etag is None else frozenset({etag})


def _item_json(item: Item) -> dict[str, Any]:
    return ItemAnswer.of(item, with_path=True).model_dump(mode="json")


def _as_json(session: Session, collection: Collection) -> dict[str, Any]:
    return CollectionAnswer.of(collection, collections.count(session, collection.id)).model_dump(mode="json")
