"""Each request to the service and how its answer is read, defined once: the clients only send them.

Files that a request names are read when its call is made.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar, Unpack
from urllib.parse import quote

import httpx

from anyseek.api.errors import ApiError
from anyseek.api.predictions.wire import Input, Predictions, prediction_json, predictions_of
from anyseek.api.queries.wire import (
    DEFAULT_HITS,
    Fusion,
    More,
    Parts,
    Query,
    QueryOfSeveral,
    Refusal,
    Results,
    Where,
    batch_of,
    parts_of,
    query_json,
    results_of,
)
from anyseek.search.settings import Limits

T = TypeVar("T")

_LIMITS = Limits()
_PREDICTION_TIMEOUT = 3_600.0  # the service limits predictions itself, and others may be before this one in the queue


@dataclass(frozen=True)
class Call(Generic[T]):
    """One request, and how to read its successful answer; `options` are those of httpx."""

    method: str
    path: str
    read: Callable[[httpx.Response], T]
    options: Mapping[str, Any] = field(default_factory=dict)

    def answer(self, response: httpx.Response) -> T:
        """Read the service's answer. Raises `ApiError`."""
        if response.is_success:
            return self.read(response)
        raise refusal(response)


def refusal(response: httpx.Response) -> ApiError:
    """The error in an answer that has been read."""
    status = response.status_code
    try:
        members = response.json()
        return ApiError(status, str(members["type"]), str(members["detail"]))
    except (ValueError, KeyError, TypeError):
        said = f"{response.url.host} answered {status} {response.reason_phrase}"
        return ApiError(status, "about:blank", f"{said}: is it an Anyseek service?")


def query(
    collection: str | Sequence[str],
    parts: Parts,
    k: int = DEFAULT_HITS,
    space: str | None = None,
    where: Where | None = None,
    fusion: Fusion | None = None,
    **more: Unpack[More],
) -> Call[Results]:
    """Find the `k` nearest of the items that pass `where`; a string part is a text, a mapping has a part's members.

    `fusion` is joint, late or ranks; None: the model chooses. Further members of a `Query` are keywords, too.
    Several collections are searched together; their hits name theirs.
    """
    if not isinstance(collection, str):
        several = QueryOfSeveral(parts_of(parts), k, space, where, fusion, collections=list(collection), **more)
        return _post("/v1/query", query_json(several, _LIMITS), results_of)
    body = query_json(Query(parts_of(parts), k, space, where, fusion, **more), _LIMITS)
    return _post(f"{_collection(collection)}/query", body, results_of)


def query_batch(collection: str, queries: Sequence[str | Query | Mapping[str, Any]]) -> Call[list[Results | Refusal]]:
    """Answer many queries in one model pass, each words, a `Query` or its members. Hits have key, score and rank."""
    body = {"queries": [query_json(query, _LIMITS) for query in queries]}
    return _post(f"{_collection(collection)}/query/batch", body, lambda answer: batch_of(answer["results"]))


def predict(
    inputs: Sequence[Input],
    targets: Sequence[str],
    model: str | None = None,
    options: Mapping[str, Any] | None = None,
) -> Call[Predictions]:
    """Predict modalities from others, with an installed `model` or the service's own; this may take minutes.

    `options` are those of docs/predicting.md, such as `{"seed": 1}`.
    """
    body = prediction_json(inputs, targets, model, options, _LIMITS)
    return _post("/v1/predict", body, predictions_of, timeout=_PREDICTION_TIMEOUT)


def collections() -> Call[list[dict[str, Any]]]:
    """List every collection with its model, spaces and number of items."""
    return _get("/v1/collections", lambda answer: list(answer["collections"]))


def collection(name: str) -> Call[dict[str, Any]]:
    """Get one collection."""
    return _get(_collection(name), dict)


def create_collection(name: str) -> Call[dict[str, Any]]:
    """Make an empty collection with the spaces of the service's model."""
    return _post("/v1/collections", {"name": name}, dict)


def delete_collection(name: str) -> Call[None]:
    """Delete a collection with its items."""
    return Call("DELETE", _collection(name), _nothing)


def reembed(name: str, model: str) -> Call[dict[str, Any]]:
    """Start a job that gives a collection the vectors of another model, then switches to them; see docs/living.md."""
    return _post(f"{_collection(name)}/reembed", {"model": model}, dict)


def rollback(name: str) -> Call[dict[str, Any]]:
    """Start a job that returns to the vectors kept at the last switch."""
    return Call("POST", f"{_collection(name)}/rollback", _json(dict))


def switch(name: str) -> Call[int]:
    """Switch although some items could not be embedded; return how many."""
    return Call("POST", f"{_collection(name)}/switch", _json(lambda answer: int(answer["left_out"])))


def forget_old(name: str) -> Call[None]:
    """Drop the vectors kept at the last switch."""
    return Call("POST", f"{_collection(name)}/forget-old", _nothing)


def tune(name: str, items: int | None = None, dry_run: bool = False) -> Call[dict[str, Any]]:
    """Fit the means of queries on a collection itself, and use those that lose nothing; see docs/living.md.

    It takes some seconds for each hundred of `items`, 256 by default. A `dry_run` only measures.
    """
    body = {"dry_run": dry_run} if items is None else {"dry_run": dry_run, "items": items}
    return _post(f"{_collection(name)}/tune", body, dict, timeout=_PREDICTION_TIMEOUT)


def reset_tuning(name: str) -> Call[None]:
    """Return to the model's own means of queries."""
    return Call("DELETE", f"{_collection(name)}/tuning", _nothing)


def duplicates(name: str, limit: int = 1000) -> Call[dict[str, Any]]:
    """Find the near-duplicate pictures of a collection: `groups`, each its `best` and `copies`, at most `limit` groups.

    This may take minutes. Nothing is changed.
    """
    return _get(f"{_collection(name)}/duplicates", dict, params={"limit": limit}, timeout=_PREDICTION_TIMEOUT)


def map_of(
    name: str, space: str | None = None, colour_by: str | None = None, limit: int = 5_000, seed: int = 0
) -> Call[dict[str, Any]]:
    """Get a map of a collection: the `places` of at most `limit` items, alike ones near each other.

    `colour_by` is an attribute whose values come along, with a colour each. It takes seconds until the layout is made.
    """
    given = {"space": space, "colour_by": colour_by, "limit": limit, "seed": seed}
    wanted = {parameter: value for parameter, value in given.items() if value is not None}
    return _get(f"{_collection(name)}/map", dict, params=wanted, timeout=_PREDICTION_TIMEOUT)


def put_item(
    collection: str,
    key: str,
    files: Mapping[str, bytes | str | Path] | None = None,
    caption: str | None = None,
    attributes: Mapping[str, Any] | None = None,
    etag: str | None = None,
    predict_attributes: bool = False,
) -> Call[dict[str, Any]]:
    """Put one item, given as files by modality, each a path or bytes; when this returns, queries find it.

    With `predict_attributes` an item with a picture gets attributes below `predicted`.

    With the `etag` of an item as it was read, it is put only if nobody has changed it since; else `ApiError` 412.
    """
    contents = {name: _bytes(content) for name, content in (files or {}).items()}
    fields: dict[str, Any] = {name: (name, data) for name, data in contents.items()}
    if caption is not None:
        fields["caption"] = (None, caption)
    if attributes is not None:
        fields["attributes"] = (None, json.dumps(attributes))
    if predict_attributes:
        fields["predict_attributes"] = (None, "true")
    return Call("PUT", _item(collection, key), _json(dict), {"files": fields, **_matching(etag)})


def patch_item(collection: str, key: str, changes: Mapping[str, Any], etag: str | None = None) -> Call[dict[str, Any]]:
    """Change an item's `attributes` by a merge patch (None removes a member), its `caption`, or both: `changes`.

    `client.patch_item("photos", "a.jpg", {"attributes": {"rating": 5, "draft": None}})`. For `etag` see `put_item`.
    """
    content = json.dumps(dict(changes), allow_nan=False).encode("ascii")
    matching = _matching(etag).get("headers", {})
    headers = {"content-type": "application/merge-patch+json", **matching}
    return Call("PATCH", _item(collection, key), _json(dict), {"content": content, "headers": headers})


def get_item(collection: str, key: str) -> Call[dict[str, Any]]:
    """Get one item: its caption, attributes, and the names of its files."""
    return _get(_item(collection, key), dict)


def delete_item(collection: str, key: str, etag: str | None = None) -> Call[None]:
    """Delete one item. For `etag` see `put_item`."""
    return Call("DELETE", _item(collection, key), _nothing, _matching(etag))


def items_page(collection: str, limit: int, after: str | None, where: str | None = None) -> Call[dict[str, Any]]:
    """Get one page of the items by key that pass `where`: `items`, and `next`, the key after which the next begins."""
    given = {"limit": str(limit), "after": after, "where": where}
    wanted = {name: value for name, value in given.items() if value is not None}
    return _get(f"{_collection(collection)}/items", dict, params=wanted)


def facets(collection: str, where: str | None = None, fields: int = 50, values: int = 20) -> Call[list[dict[str, Any]]]:
    """The attributes of the items that pass `where`, those that most have first, with how many have each value."""
    given = {"fields": str(fields), "values": str(values)} | ({} if where is None else {"where": where})
    return _get(f"{_collection(collection)}/facets", lambda answer: list(answer["fields"]), params=given)


def asset(collection: str, key: str, name: str) -> Call[bytes]:
    """Get the bytes of one stored file of an item."""
    return Call("GET", f"{_collection(collection)}/assets/{_segment(name)}/{_segment(key)}", _content)


def thumbnail(collection: str, key: str) -> Call[bytes]:
    """Get a small picture of an item."""
    return Call("GET", f"{_collection(collection)}/thumbnails/{_segment(key)}", _content)


def index_folder(
    collection: str,
    folder: str | Path,
    prune: bool = False,
    on_duplicate: str = "link",
    key_prefix: str | None = None,
    predict_attributes: bool | None = None,
) -> Call[dict[str, Any]]:
    """Start a job that indexes a folder, or another source, on the service's machine; it must be inside a
    configured root. `on_duplicate` is link, skip or error. Keys of a new source begin with `key_prefix`.
    `predict_attributes` says whether its items get attributes below `predicted`, None that this stays as it is.
    """
    body: dict[str, Any] = {
        "source": str(folder),
        "prune": prune,
        "on_duplicate": on_duplicate,
        "key_prefix": key_prefix,
    }
    if predict_attributes is not None:
        body["predict_attributes"] = predict_attributes
    return _post(f"{_collection(collection)}/jobs", body, dict)


def jobs() -> Call[list[dict[str, Any]]]:
    """List the newest jobs, newest first."""
    return _get("/v1/jobs", lambda answer: list(answer["jobs"]))


def job(number: int) -> Call[dict[str, Any]]:
    """Get one job with its progress."""
    return _get(f"/v1/jobs/{number}", dict)


def job_failures(number: int) -> Call[list[dict[str, Any]]]:
    """List the first inputs that a job could not index, each with its reason."""
    return _get(f"/v1/jobs/{number}/failures", lambda answer: list(answer["failures"]))


def cancel_job(number: int) -> Call[dict[str, Any]]:
    """Stop a job. What it has indexed stays."""
    return Call("POST", f"/v1/jobs/{number}/cancel", _json(dict))


def retry_job(number: int) -> Call[dict[str, Any]]:
    """Retry a job's quarantined inputs; the answer has their number (`reopened`) and the `job`."""
    return Call("POST", f"/v1/jobs/{number}/retry", _json(dict))


def job_events(number: int) -> Call[None]:
    """Get a job's server-sent events, which the client reads line by line."""
    return Call("GET", f"/v1/jobs/{number}/events", _nothing)


def quota() -> Call[dict[str, Any]]:
    """Get how many `items` and `bytes` count for the `key` that asks, and `most_items` and `most_bytes`; None: any."""
    return _get("/v1/quota", dict)


def models() -> Call[list[dict[str, Any]]]:
    """Get the service's model: its fingerprint, spaces and modalities."""
    return _get("/v1/models", lambda answer: list(answer["models"]))


def ready() -> Call[None]:
    """Whether the model is loaded."""
    return Call("GET", "/readyz", _nothing)


def _get(path: str, read: Callable[[Any], T], **options: Any) -> Call[T]:
    return Call("GET", path, _json(read), options)


def _post(path: str, body: Mapping[str, Any], read: Callable[[Any], T], **options: Any) -> Call[T]:
    # In ASCII, so that half a surrogate pair reaches the service, which reports it.
    content = json.dumps(body, allow_nan=False).encode("ascii")
    headers = {"content-type": "application/json"}
    return Call("POST", path, _json(read), {"content": content, "headers": headers, **options})


def _json(read: Callable[[Any], T]) -> Callable[[httpx.Response], T]:
    return lambda response: read(response.json())


def _content(response: httpx.Response) -> bytes:
    return response.content


def _nothing(response: httpx.Response) -> None:
    return None


def _bytes(content: bytes | str | Path) -> bytes:
    return content if isinstance(content, bytes) else Path(content).read_bytes()


def _matching(etag: str | None) -> dict[str, Any]:
    return {} if etag is None else {"headers": {"if-match": f'"{etag}"'}}


def _segment(key: str) -> str:
    """A key as one segment of a path: a slash in it is encoded too."""
    return quote(key, safe="", errors="surrogatepass")


def _collection(name: str) -> str:
    return f"/v1/collections/{_segment(name)}"


def _item(collection: str, key: str) -> str:
    return f"{_collection(collection)}/items/{_segment(key)}"
