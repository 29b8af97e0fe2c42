"""A client of the service, with the words of its API.

    with Client("http://127.0.0.1:8765") as client:
        results = client.query("photos", [Part("caption", text="a red bicycle"), Part("sketch", file=Path("bike.png"))])

ClientError
├── ServiceUnreachable   nothing answers at that address
└── ApiError             the service refused; `type` is the stable part of its problem details
"""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import quote, urlsplit

import httpx

from api.events import read_events
from api.prediction_wire import Input, Predictions, prediction_body, predictions_of
from api.wire import DEFAULT_HITS, Part, Refusal, Results, Where, batch_of, query_body, results_of
from search.errors import AnyseekError
from search.settings import Limits

_PREDICTION_TIMEOUT = 3_600.0  # the service stops a prediction itself, and others may come first
NOT_READY = "urn:anyseek:not-ready"


class ClientError(AnyseekError):
    code = "client-error"


class ServiceUnreachable(ClientError):
    code = "service-unreachable"


class ApiError(ClientError):
    """A refusal by the service: its `status`, problem `type`, and one sentence."""

    code = "api-error"

    def __init__(self, status: int, kind: str, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.type = kind


class Client:
    """Talks to one service. Raises `ApiError` for what it refuses and `ServiceUnreachable` if nobody answers.

    `patience`: seconds that a request waits for a service that is still loading its model.
    """

    def __init__(self, url: str, api_key: str | None = None, timeout: float = 120.0, patience: float = 0.0) -> None:
        if urlsplit(url).scheme not in ("http", "https"):
            raise ServiceUnreachable(f"{url!r} is not the address of a service, such as http://127.0.0.1:8765")
        secure = url.startswith("https:")
        headers = {"authorization": f"Bearer {api_key}"} if api_key else {}
        # Certificates take 20 ms to load, and proxies are for other machines than this one.
        local = urlsplit(url).hostname in ("127.0.0.1", "localhost", "::1")
        self.url = url.rstrip("/")
        self.limits = Limits()
        self._patience = patience
        self._http = httpx.Client(
            base_url=self.url,
            headers=headers,
            timeout=httpx.Timeout(timeout, connect=5.0),
            verify=secure,
            trust_env=not local,
        )

    def __enter__(self) -> "Client":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()

    def query(
        self,
        collection: str,
        parts: Sequence[Part],
        k: int = DEFAULT_HITS,
        space: str | None = None,
        where: Where | None = None,
        fusion: str | None = None,
    ) -> Results:
        """The `k` nearest of the items that pass `where`; `fusion` is joint, late, or None for what suits the model."""
        body = query_body(parts, k, space, where, fusion, self.limits)
        return results_of(self._post(f"{_collection(collection)}/query", body))

    def query_batch(self, collection: str, queries: Sequence[Mapping[str, Any]]) -> list[Results | Refusal]:
        """Many queries in one model pass; each as JSON (`parts`, `k`, `space`, `where`, `fusion`).

        Hits carry key, score and rank.
        """
        answer = self._post(f"{_collection(collection)}/query/batch", {"queries": list(queries)})
        return batch_of(answer["results"])

    def predict(
        self,
        inputs: Sequence[Input],
        targets: Sequence[str],
        model: str | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> Predictions:
        """Predict modalities from others, with an installed `model` or the service's own; may take minutes.

        `options` are those of docs/predicting.md, such as `{"seed": 1}`.
        """
        body = prediction_body(inputs, targets, model, options, self.limits)
        return predictions_of(self._post("/v1/predict", body, timeout=_PREDICTION_TIMEOUT))

    def collections(self) -> list[dict[str, Any]]:
        return list(self._json("GET", "/v1/collections")["collections"])

    def collection(self, name: str) -> dict[str, Any]:
        return dict(self._json("GET", _collection(name)))

    def create_collection(self, name: str) -> dict[str, Any]:
        """Make an empty collection with the spaces of the service's model."""
        return dict(self._post("/v1/collections", {"name": name}))

    def delete_collection(self, name: str) -> None:
        self._send("DELETE", _collection(name))

    def reembed(self, name: str, model: str) -> dict[str, Any]:
        """Start a job that gives a collection the vectors of another model and then switches; see docs/living.md."""
        return dict(self._post(f"{_collection(name)}/reembed", {"model": model}))

    def rollback(self, name: str) -> dict[str, Any]:
        """Start a job that lets the vectors kept at the last switch serve again."""
        return dict(self._json("POST", f"{_collection(name)}/rollback"))

    def switch(self, name: str) -> int:
        """Switch though some items could not be embedded; returns how many."""
        return int(self._json("POST", f"{_collection(name)}/switch")["left_out"])

    def forget_old(self, name: str) -> None:
        """Drop the vectors kept at the last switch."""
        self._send("POST", f"{_collection(name)}/forget-old")

    def put_item(
        self,
        collection: str,
        key: str,
        files: Mapping[str, bytes | Path] | None = None,
        caption: str | None = None,
        attributes: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Write one item from files by modality; when this returns, queries find it."""
        contents = {name: _bytes(content) for name, content in (files or {}).items()}
        fields: dict[str, Any] = {name: (name, data) for name, data in contents.items()}
        if caption is not None:
            fields["caption"] = (None, caption)
        if attributes is not None:
            fields["attributes"] = (None, json.dumps(attributes))
        return dict(self._json("PUT", _item(collection, key), files=fields))

    def get_item(self, collection: str, key: str) -> dict[str, Any]:
        return dict(self._json("GET", _item(collection, key)))

    def delete_item(self, collection: str, key: str) -> None:
        self._send("DELETE", _item(collection, key))

    def items(self, collection: str, page_size: int = 500) -> Iterator[dict[str, Any]]:
        """Every item by key, asked for page by page."""
        after: str | None = None
        while True:
            wanted = {"limit": str(page_size)} | ({"after": after} if after is not None else {})
            page = self._json("GET", f"{_collection(collection)}/items", params=wanted)
            yield from page["items"]
            after = page["next"]
            if after is None:
                return

    def asset(self, collection: str, key: str, name: str) -> bytes:
        """The bytes of one stored file of an item."""
        return self._send("GET", f"{_collection(collection)}/assets/{quote(name, safe='')}/{_segment(key)}").content

    def thumbnail(self, collection: str, key: str) -> bytes:
        return self._send("GET", f"{_collection(collection)}/thumbnails/{_segment(key)}").content

    def index_folder(
        self, collection: str, folder: str, prune: bool = False, on_duplicate: str = "link"
    ) -> dict[str, Any]:
        """Start a job that indexes a folder, or another source, of the service's machine; it must lie inside a
        configured root. `on_duplicate` is link, skip or error.
        """
        body = {"source": folder, "prune": prune, "on_duplicate": on_duplicate}
        return dict(self._post(f"{_collection(collection)}/jobs", body))

    def jobs(self) -> list[dict[str, Any]]:
        return list(self._json("GET", "/v1/jobs")["jobs"])

    def job(self, number: int) -> dict[str, Any]:
        return dict(self._json("GET", f"/v1/jobs/{number}"))

    def job_failures(self, number: int) -> list[dict[str, Any]]:
        return list(self._json("GET", f"/v1/jobs/{number}/failures")["failures"])

    def cancel_job(self, number: int) -> dict[str, Any]:
        return dict(self._json("POST", f"/v1/jobs/{number}/cancel"))

    def retry_job(self, number: int) -> dict[str, Any]:
        """Try a job's quarantined inputs again; tells how many (`reopened`), and the `job`."""
        return dict(self._json("POST", f"/v1/jobs/{number}/retry"))

    def watch(self, number: int) -> Iterator[dict[str, Any]]:
        """How far a job is (`job`, `done`, `quarantined`, `rate`, `seconds_left`) whenever that changes, to its end."""
        try:
            with self._http.stream("GET", f"/v1/jobs/{number}/events") as answer:
                if not answer.is_success:
                    answer.read()
                    raise _api_error(answer)
                for name, members in read_events(answer.iter_lines()):
                    yield members
                    if name == "end":
                        return
        except httpx.TransportError as error:
            raise ServiceUnreachable(f"the service at {self.url} is gone: {error}") from error
        raise ServiceUnreachable(f"the service at {self.url} stopped telling how far job {number} is")

    def models(self) -> list[dict[str, Any]]:
        return list(self._json("GET", "/v1/models")["models"])

    def wait_until_ready(self, seconds: float) -> None:
        """Return once the model is loaded. Raises `ApiError` if it cannot be, or is not in time."""
        ends = time.monotonic() + seconds
        while True:
            try:
                self._send_once("GET", "/readyz")
            except ApiError as error:
                if error.type != NOT_READY or time.monotonic() > ends:
                    raise
            else:
                return
            time.sleep(0.1)

    def _post(self, path: str, body: Mapping[str, Any], **how: Any) -> Any:
        # ASCII: half a surrogate pair must reach the service, which can say what is wrong with it.
        data = json.dumps(body, allow_nan=False).encode("ascii")
        return self._send("POST", path, content=data, headers={"content-type": "application/json"}, **how).json()

    def _json(self, method: str, path: str, **content: Any) -> Any:
        return self._send(method, path, **content).json()

    def _send(self, method: str, path: str, **content: Any) -> httpx.Response:
        try:
            return self._send_once(method, path, **content)
        except ApiError as error:
            if error.type != NOT_READY or not self._patience:
                raise
        self.wait_until_ready(self._patience)
        return self._send_once(method, path, **content)

    def _send_once(self, method: str, path: str, **content: Any) -> httpx.Response:
        try:
            answer = self._http.request(method, path, **content)
        except httpx.TimeoutException as error:
            raise ServiceUnreachable(f"the service at {self.url} did not answer in time") from error
        except httpx.TransportError as error:
            raise ServiceUnreachable(f"nothing answers at {self.url}: {error}") from error
        if answer.is_success:
            return answer
        raise _api_error(answer)


def _api_error(answer: httpx.Response) -> ApiError:
    status = answer.status_code
    try:
        members = answer.json()
        return ApiError(status, str(members["type"]), str(members["detail"]))
    except (ValueError, KeyError, TypeError):
        said = f"{answer.url.host} answered {status} {answer.reason_phrase}"
        return ApiError(status, "about:blank", f"{said}: is it an Anyseek service?")


def _bytes(content: bytes | Path) -> bytes:
    return content if isinstance(content, bytes) else content.read_bytes()


def _segment(key: str) -> str:
    """A key as one segment of a path: a slash in it is encoded too."""
    return quote(key, safe="", errors="surrogatepass")


def _collection(name: str) -> str:
    return f"/v1/collections/{_segment(name)}"


def _item(collection: str, key: str) -> str:
    return f"{_collection(collection)}/items/{_segment(key)}"
