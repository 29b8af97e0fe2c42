"""The client's verbs done in this process, for commands where no service runs."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Unpack

from sqlalchemy.orm import Session

from api.collections.schemas import CollectionAnswer, TunedAnswer
from api.jobs.schemas import JobAnswer
from api.predictions.conversion import read_request
from api.predictions.predictor import Predictor
from api.predictions.wire import Input, Predictions
from api.queries.conversion import answer_batch, outcome_to_wire, read_query, results_to_wire
from api.queries.wire import DEFAULT_HITS, Fusion, More, Parts, Query, Refusal, Results, Where, parts_of, spelled_out
from indexer.runs import Tools
from indexer.samples import THUMBNAIL
from indexer.tuning import DEFAULT_ITEMS, reset, tune
from search.catalogue import collections, items
from search.engine import SearchEngine
from search.errors import AssetNotFound
from search.settings import Settings
from search.types import Collection
from workers.runtime import Runtime


class LocalClient:
    """A client that opens the data directory itself. A query loads the model of its collection.

    Raises domain errors where `api.client.Client` raises `ApiError`. `model` is the model of new collections.
    """

    def __init__(self, settings: Settings, model: str | None = None) -> None:
        self.settings = settings
        self._open = ExitStack()
        self._runtime = self._open.enter_context(Runtime.open(settings, model))
        self._held: dict[str, Tools] = {}
        self._predictor = Predictor(settings.home, self._runtime.model)

    def __enter__(self) -> "LocalClient":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    def query(
        self,
        collection: str,
        parts: Parts,
        k: int = DEFAULT_HITS,
        space: str | None = None,
        where: Where | None = None,
        fusion: Fusion | None = None,
        **more: Unpack[More],
    ) -> Results:
        """See `Client.query`."""
        engine = self._engine(collection)
        asked = Query(parts_of(parts), k, space, where, fusion, **more)
        results = engine.query(collection, read_query(asked, self.settings.limits, engine.embedder))
        return results_to_wire(results, with_paths=True)

    def query_batch(
        self, collection: str, queries: Sequence[str | Query | Mapping[str, Any]]
    ) -> list[Results | Refusal]:
        """See `Client.query_batch`."""
        asked = [spelled_out(query) for query in queries]
        outcomes = answer_batch(self._engine(collection), self.settings.limits, collection, asked)
        return [outcome_to_wire(outcome) for outcome in outcomes]

    def predict(
        self,
        inputs: Sequence[Input],
        targets: Sequence[str],
        model: str | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> Predictions:
        """See `Client.predict`."""
        members = {"inputs": list(inputs), "targets": list(targets), "model": model, "options": options or {}}
        return self._predictor.predict(read_request(members, self.settings.limits))

    def collections(self) -> list[dict[str, Any]]:
        with self._runtime.database.read() as session:
            return [_as_json(session, found) for found in collections.list_all(session)]

    def collection(self, name: str) -> dict[str, Any]:
        with self._runtime.database.read() as session:
            return _as_json(session, collections.get(session, name))

    def thumbnail(self, collection: str, key: str) -> bytes:
        """See `Client.thumbnail`. Raises `CollectionNotFound`, `ItemNotFound`, `AssetNotFound`, `StoreCorrupt`."""
        with self._runtime.database.read() as session:
            item = items.get(session, collections.get(session, collection), key)
        small = item.assets.get(THUMBNAIL)
        if small is None:
            raise AssetNotFound(f"the item {key!r} has no {THUMBNAIL}")
        return self._runtime.assets.read(small)

    def create_collection(self, name: str) -> dict[str, Any]:
        """See `Client.create_collection`."""
        embedder = self._runtime.embedder
        with self._runtime.database.write() as session:
            return _as_json(session, collections.create(session, name, embedder.name, embedder.spaces.values()))

    def delete_collection(self, name: str) -> None:
        with self._runtime.database.write() as session:
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
        tuned = tune(self._tools(name), name, DEFAULT_ITEMS if items is None else items, dry_run)
        return TunedAnswer.of(tuned, dry_run).model_dump(mode="json")

    def reset_tuning(self, name: str) -> None:
        """See `Client.reset_tuning`."""
        reset(self._runtime.database, name)

    def job(self, number: int) -> dict[str, Any]:
        """See `Client.job`."""
        return JobAnswer.of(self._runtime.queue.status(number)).model_dump(mode="json")

    def _engine(self, collection: str) -> SearchEngine:
        return self._tools(collection).engine

    def _tools(self, collection: str) -> Tools:
        """The tools with the collection's model, kept for the next query. Raises `CollectionNotFound`."""
        if collection not in self._held:
            with self._runtime.database.read() as session:
                collections.get(session, collection)
            runtime = self._open.enter_context(Runtime.open_for(self.settings, collection, None))
            self._held[collection] = runtime.tools()
        return self._held[collection]


def _as_json(session: Session, collection: Collection) -> dict[str, Any]:
    return CollectionAnswer.of(collection, collections.count(session, collection.id)).model_dump(mode="json")
