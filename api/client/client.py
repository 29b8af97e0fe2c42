"""`Client`, the Python interface of Anyseek: of a data directory opened in this process, or of a service."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from anyseek.api.client import answers
from anyseek.api.client.calls import (
    LIMITS,
    LONG,
    Call,
    EventReader,
    content,
    events_path,
    file_bytes,
    if_match,
    json_call,
    list_of,
    no_body,
    path_of,
    query_call,
    response_error,
    translate_errors,
    without_none,
)
from anyseek.api.client.connection import Connection
from anyseek.api.client.notebook import NotebookResults
from anyseek.api.errors import ServiceUnreachable
from anyseek.api.predictions.wire import Input, Predictions, prediction_json, predictions_of
from anyseek.api.queries.wire import batch_of, query_json
from anyseek.search.answers.results import Fusion, Refusal, Results
from anyseek.search.query.query import DEFAULT_HITS, Parts, Query, Where

if TYPE_CHECKING:
    from anyseek.api.client.answers import (
        Attribute,
        Collection,
        Duplicates,
        Failure,
        Item,
        Job,
        JobEvent,
        Map,
        Model,
        Quota,
        Reason,
        Retry,
        TaughtFacet,
        Tuning,
    )


class Client(Connection):
    """A data directory opened in this process, or a service.

        with anyseek.Client("http://127.0.0.1:8765", key) as client:
            for hit in client.query("photos", "a red bicycle").hits:
                print(hit.key, hit.score)

    `location` is the URL of a service, the path of a data directory, or None for `ANYSEEK_HOME`; `key` is an API key of
    the service. `model` is the model of new collections, only in this process. `timeout`: seconds to wait for a
    response of a service. `patience`: seconds that a request waits for a service that is still loading its model.

    Every method raises `ApiError` if the request is refused, `ServiceUnreachable` if the service does not answer, and
    `BadInput` for a query or a file that cannot be sent. Clients are thread-safe.
    """

    # Queries and predictions

    def query(
        self,
        collection: str | Sequence[str],
        parts: Parts,
        k: int = DEFAULT_HITS,
        space: str | None = None,
        where: Where | None = None,
        fusion: Fusion | None = None,
        *,
        offset: int = 0,
        min_score: float | None = None,
        min_probability: float | None = None,
        vectors: bool = False,
        group_by: str | None = None,
        group_size: int = 1,
        facets: Sequence[str] = (),
        spaces: Sequence[str] = (),
        cursor: str | None = None,
        explain: int = 0,
        explain_keys: Sequence[str] = (),
    ) -> Results:
        """Find the `k` items nearest to the weighted parts together, best first.

            client.query("photos", ["a dog", anyseek.Part("sketch", file="dog.png")], where="width >= 1000")

        A part is a `Part`, its members as a mapping, or words; a single one needs no list. Several collections are
        searched together; each hit then names its own. `where` is a filter; `space` or `spaces` override the model's
        choice; `fusion` is joint, late or ranks. `offset` and `cursor` give later pages, `min_score` and
        `min_probability` leave out worse hits, `group_by` and `group_size` limit the hits per value of an attribute.
        `vectors` adds vectors to hits, `facets` counts of attributes, `explain` and `explain_keys` explanations.
        """
        call = query_call(
            collection,
            parts,
            k=k,
            space=space,
            where=where,
            fusion=fusion,
            offset=offset,
            min_score=min_score,
            min_probability=min_probability,
            vectors=vectors,
            group_by=group_by,
            group_size=group_size,
            facets=facets,
            spaces=spaces,
            cursor=cursor,
            explain=explain,
            explain_keys=explain_keys,
        )
        return self._send(replace(call, read=lambda response: self._for_notebook(collection, call.read(response))))

    def query_pages(
        self,
        collection: str,
        parts: Parts,
        k: int = DEFAULT_HITS,
        space: str | None = None,
        where: Where | None = None,
        fusion: Fusion | None = None,
        *,
        min_score: float | None = None,
        min_probability: float | None = None,
        vectors: bool = False,
        spaces: Sequence[str] = (),
    ) -> Iterator[Results]:
        """Iterate over the pages of a query, `k` hits each, up to 10,000 hits.

        No hit is repeated, even if items are written meanwhile.
        """
        members: dict[str, Any] = {"min_score": min_score, "min_probability": min_probability, "vectors": vectors}
        cursor = None
        while True:
            results = self.query(collection, parts, k, space, where, fusion, spaces=spaces, cursor=cursor, **members)
            yield results
            cursor = results.next
            if cursor is None:
                return

    def query_batch(
        self, collection: str, queries: Sequence[str | Query | Mapping[str, Any]]
    ) -> list[Results | Refusal]:
        """Answer many queries in one model pass; each is words, a `Query` or its members.

        Hits have only a key, score, rank, group and probability. The result of an invalid query is a `Refusal`.
        """
        body = {"queries": [query_json(query, LIMITS) for query in queries]}
        return self._send(
            json_call("POST", f"{path_of(collection)}/query/batch", lambda answer: batch_of(answer["results"]), body)
        )

    def predict(
        self,
        inputs: Sequence[Input],
        targets: Sequence[str],
        model: str | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> Predictions:
        """Predict modalities from others, with an installed `model` or the service's own; this may take minutes.

            client.predict([anyseek.Input("rgb", file="room.jpg")], ["depth", "caption"], options={"seed": 1})

        docs/predicting.md lists the `options`.
        """
        body = prediction_json(inputs, targets, model, options, LIMITS)
        return self._send(json_call("POST", "/v1/predict", predictions_of, body, timeout=LONG))

    # Collections

    def collections(self) -> list[Collection]:
        """List all collections, by name."""
        return self._send(
            json_call("GET", "/v1/collections", list_of(answers.Collection.model_validate, "collections"))
        )

    def collection(self, name: str) -> Collection:
        """Get a collection with its model, spaces and number of items."""
        return self._send(json_call("GET", path_of(name), answers.Collection.model_validate))

    def create_collection(self, name: str) -> Collection:
        """Create an empty collection with the spaces of the model."""
        return self._send(json_call("POST", "/v1/collections", answers.Collection.model_validate, {"name": name}))

    def delete_collection(self, name: str) -> None:
        """Delete a collection with its items. Files that were indexed in place stay."""
        return self._send(Call("DELETE", path_of(name), no_body))

    def reembed(self, name: str, model: str) -> Job:
        """Start a job that gives a collection the vectors of another model, then switches to them; see docs/living.md.

        A job in this process stops when the process ends, and resumes when it is started again.
        """
        return self._send(json_call("POST", f"{path_of(name)}/reembed", answers.Job.model_validate, {"model": model}))

    def rollback(self, name: str) -> Job:
        """Start a job that returns to the vectors kept at the last switch."""
        return self._send(json_call("POST", f"{path_of(name)}/rollback", answers.Job.model_validate))

    def switch(self, name: str) -> int:
        """Switch to another model's vectors although some items could not be embedded; return how many."""
        return self._send(json_call("POST", f"{path_of(name)}/switch", lambda body: int(body["left_out"])))

    def forget_old(self, name: str) -> None:
        """Delete the vectors kept at the last switch."""
        return self._send(Call("POST", f"{path_of(name)}/forget-old", no_body))

    def tune(self, name: str, items: int | None = None, dry_run: bool = False) -> Tuning:
        """Fit the means of queries to a collection, and use those that lose no recall; see docs/living.md.

        It takes some seconds for each hundred of `items`, 256 by default. A `dry_run` only measures.
        """
        body = {"dry_run": dry_run, **without_none(items=items)}
        return self._send(json_call("POST", f"{path_of(name)}/tune", answers.Tuning.model_validate, body, timeout=LONG))

    def reset_tuning(self, name: str) -> None:
        """Return to the model's own means of queries."""
        return self._send(Call("DELETE", f"{path_of(name)}/tuning", no_body))

    def facets(self, collection: str, where: str | None = None, fields: int = 50, values: int = 20) -> list[Attribute]:
        """Count the attributes of the items that pass the filter `where`, and their values, the most frequent first."""
        params = without_none(where=where, fields=fields, values=values)
        return self._send(
            json_call(
                "GET",
                f"{path_of(collection)}/facets",
                list_of(answers.Attribute.model_validate, "fields"),
                params=params,
            )
        )

    def teach(
        self,
        collection: str,
        name: str,
        labels: Mapping[str, bool | float | str | None],
        captions: Mapping[str, bool | str] | None = None,
        anew: bool = False,
    ) -> TaughtFacet:
        """Teach a collection the attribute `name` from the labels of a few items by key; see docs/living.md.

        Labels are all true or false, all names of classes, or all numbers; None removes an example. `captions` are
        words with their label. They are added to earlier examples, or replace them if `anew`.
        """
        examples = [{"key": key, "label": label} for key, label in labels.items()]
        examples += [{"caption": text, "label": label} for text, label in (captions or {}).items()]
        path, body = path_of(collection, "taught", name), {"examples": examples, "anew": anew}
        return self._send(json_call("POST", path, answers.TaughtFacet.model_validate, body, timeout=LONG))

    def taught_facets(self, collection: str) -> list[TaughtFacet]:
        """List the attributes that a collection was taught, with their examples and errors."""
        read = list_of(answers.TaughtFacet.model_validate, "facets")
        return self._send(json_call("GET", path_of(collection, "taught"), read))

    def suggest_examples(self, collection: str, name: str, count: int = 10) -> list[str]:
        """Suggest the keys of items whose labels would help a taught attribute most."""
        path, params = f"{path_of(collection, 'taught', name)}/suggestions", {"count": count}
        return self._send(json_call("GET", path, lambda body: list(map(str, body["keys"])), params=params))

    def explain_taught(self, collection: str, name: str, key: str) -> Reason:
        """Name the examples that are why an item has its value of a taught attribute."""
        path = path_of(collection, "taught", name, "reasons", key)
        return self._send(json_call("GET", path, answers.Reason.model_validate))

    def forget_taught(self, collection: str, name: str) -> None:
        """Forget a taught attribute, its examples and its values."""
        return self._send(Call("DELETE", path_of(collection, "taught", name), no_body))

    def duplicates(self, name: str, limit: int = 1000) -> Duplicates:
        """Find at most `limit` groups of near-duplicate pictures; this may take minutes. Nothing is changed."""
        path, params = f"{path_of(name)}/duplicates", {"limit": limit}
        return self._send(json_call("GET", path, answers.Duplicates.model_validate, params=params, timeout=LONG))

    def map(
        self, name: str, space: str | None = None, colour_by: str | None = None, limit: int = 5_000, seed: int = 0
    ) -> Map:
        """Lay at most `limit` items out on a plane, similar ones near each other.

        `colour_by` is an attribute whose values are returned, each with a colour. The layout takes seconds.
        """
        params = without_none(space=space, colour_by=colour_by, limit=limit, seed=seed)
        path = f"{path_of(name)}/map"
        return self._send(json_call("GET", path, answers.Map.model_validate, params=params, timeout=LONG))

    # Items

    def items(self, collection: str, page_size: int = 500, where: str | None = None) -> Iterator[Item]:
        """Iterate over the items by key, those that pass the filter `where`, requested page by page."""
        read = list_of(answers.Item.model_validate, "items")
        after: str | None = None
        while True:
            params = without_none(limit=page_size, after=after, where=where)
            path = f"{path_of(collection)}/items"
            page, after = self._send(json_call("GET", path, lambda body: (read(body), body["next"]), params=params))
            yield from page
            if after is None:
                return

    def get_item(self, collection: str, key: str) -> Item:
        """Get an item: its caption, attributes, and the names of its files."""
        return self._send(json_call("GET", path_of(collection, "items", key), answers.Item.model_validate))

    def put_item(
        self,
        collection: str,
        key: str,
        files: Mapping[str, bytes | str | Path] | None = None,
        caption: str | None = None,
        attributes: Mapping[str, Any] | None = None,
        etag: str | None = None,
        predict_attributes: bool = False,
    ) -> Item:
        """Put an item, replacing any item with this key; when this returns, queries find it.

            client.put_item("photos", "a.jpg", {"rgb": "photos/a.jpg"}, "a red bicycle", {"year": 1987})

        `files` are by modality, each a path or bytes. With `predict_attributes` an item with a picture gets attributes
        below `predicted`. With `etag`, the item is put only if its current etag is this one; else raises `ApiError`
        with the code `item-changed`.
        """
        fields: dict[str, Any] = {name: (name, file_bytes(file)) for name, file in (files or {}).items()}
        texts = without_none(
            caption=caption,
            attributes=None if attributes is None else json.dumps(attributes),
            predict_attributes="true" if predict_attributes else None,
        )
        options = {"files": fields | {name: (None, text) for name, text in texts.items()}, "headers": if_match(etag)}
        return self._send(json_call("PUT", path_of(collection, "items", key), answers.Item.model_validate, **options))

    def patch_item(self, collection: str, key: str, changes: Mapping[str, Any], etag: str | None = None) -> Item:
        """Change an item's `attributes` by a merge patch (None removes a member), its `caption`, or both.

            client.patch_item("photos", "a.jpg", {"attributes": {"rating": 5, "draft": None}})

        For `etag` see `put_item`.
        """
        headers = {"content-type": "application/merge-patch+json"} | if_match(etag)
        path = path_of(collection, "items", key)
        return self._send(json_call("PATCH", path, answers.Item.model_validate, changes, headers=headers))

    def delete_item(self, collection: str, key: str, etag: str | None = None) -> None:
        """Delete an item. For `etag` see `put_item`."""
        return self._send(Call("DELETE", path_of(collection, "items", key), no_body, {"headers": if_match(etag)}))

    def asset(self, collection: str, key: str, name: str) -> bytes:
        """Get a stored file of an item; `name` is its modality."""
        return self._send(Call("GET", path_of(collection, "assets", name, key), content))

    def thumbnail(self, collection: str, key: str) -> bytes:
        """Get a small picture of an item."""
        return self._send(Call("GET", path_of(collection, "thumbnails", key), content))

    # Jobs

    def index_folder(
        self,
        collection: str,
        folder: str | Path,
        prune: bool = False,
        on_duplicate: Literal["link", "skip", "error"] = "link",
        key_prefix: str | None = None,
        predict_attributes: bool | None = None,
    ) -> Job:
        """Start a job that indexes a folder, or another source, on the service's machine inside its configured roots.

            job = client.index_folder("photos", "/srv/photos")
            for progress in client.watch(job.id):
                print(progress.done)

        `prune` removes items whose files are gone. `on_duplicate` says what happens to content that another key already
        has. Keys of a new source begin with `key_prefix`. `predict_attributes` says whether items get attributes below
        `predicted`; None keeps the choice of the source.
        """
        body = {"source": str(folder), "prune": prune, "on_duplicate": on_duplicate, "key_prefix": key_prefix}
        body |= without_none(predict_attributes=predict_attributes)
        return self._send(json_call("POST", f"{path_of(collection)}/jobs", answers.Job.model_validate, body))

    def jobs(self) -> list[Job]:
        """List the newest jobs, newest first."""
        return self._send(json_call("GET", "/v1/jobs", list_of(answers.Job.model_validate, "jobs")))

    def job(self, number: int) -> Job:
        """Get a job with its progress."""
        return self._send(json_call("GET", f"/v1/jobs/{number}", answers.Job.model_validate))

    def watch(self, number: int) -> Iterator[JobEvent]:
        """Iterate over the progress of a job, a new value whenever it changes, until it ends."""
        events = EventReader()
        with translate_errors(self.url), self._http.stream("GET", events_path(number)) as response:
            if not response.is_success:
                response.read()
                raise response_error(response)
            for line in response.iter_lines():
                for name, members in events.read(line):
                    yield answers.JobEvent.model_validate(members)
                    if name == "end":
                        return
        raise ServiceUnreachable(f"{self.url} stopped reporting the progress of job {number}")

    def job_failures(self, number: int) -> list[Failure]:
        """List the first inputs that a job could not index, each with its reason."""
        return self._send(
            json_call("GET", f"/v1/jobs/{number}/failures", list_of(answers.Failure.model_validate, "failures"))
        )

    def cancel_job(self, number: int) -> Job:
        """Stop a job. What it has indexed stays."""
        return self._send(json_call("POST", f"/v1/jobs/{number}/cancel", answers.Job.model_validate))

    def retry_job(self, number: int) -> Retry:
        """Retry the inputs that a job could not index."""
        return self._send(json_call("POST", f"/v1/jobs/{number}/retry", answers.Retry.model_validate))

    # The service

    def models(self) -> list[Model]:
        """Get the model that serves: its name, fingerprint, spaces and modalities."""
        return self._send(json_call("GET", "/v1/models", list_of(answers.Model.model_validate, "models")))

    def quota(self) -> Quota:
        """Get the items and bytes that count for the API key, and its limits."""
        return self._send(json_call("GET", "/v1/quota", answers.Quota.model_validate))

    def _for_notebook(self, collection: str | Sequence[str], results: Results) -> Results:
        """The results, displayed as thumbnails in a notebook."""
        default = collection if isinstance(collection, str) else ""
        return NotebookResults.of(results, lambda hit: self.thumbnail(hit.collection or default, hit.key))
