"""`/metrics`: what it counts, who may read it, and that it is read when things go wrong."""

import re
from pathlib import Path

import httpx
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import text

from anyseek import Client
from anyseek.api.app import create_app
from anyseek.api.http.security import Scope, create_key
from anyseek.api.service import Service
from anyseek.search.catalogue import api_keys
from tests.api.conftest import THREADS, bearer
from tests.indexer.pictures import png

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def scraped(url: str, key: str | None = None) -> Samples:
    answer = httpx.get(f"{url}/metrics", headers=bearer(key), timeout=30)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    families = text_string_to_metric_families(answer.text)
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in families
        for sample in family.samples
    }


def value(samples: Samples, name: str, **labels: str) -> float:
    return samples.get((name, frozenset(labels.items())), 0.0)


def test_requests_are_counted_by_the_pattern_of_their_route(started: tuple[str, Service]) -> None:
    url, _ = started
    before = scraped(url)
    for key in ("a", "b/c", "?"):
        assert httpx.get(f"{url}/v1/collections/words/items/{httpx.QueryParams({'k': key})}").status_code == 404
    httpx.request("BREW", f"{url}/v1/jobs")
    for number in range(3):
        httpx.get(f"{url}/no/route/{number}")
    after = scraped(url)

    def grew(method: str, route: str, status: str) -> float:
        labels = {"method": method, "route": route, "status": status}
        name = "anyseek_http_requests_total"
        return value(after, name, **labels) - value(before, name, **labels)

    assert grew("GET", "/v1/collections/{collection}/items/{key:key}", "404") == 3
    assert grew("other", "/v1/jobs", "405") == 1
    assert grew("GET", "none", "404") == 3
    assert value(after, "anyseek_http_request_seconds_count", route="none") >= 3


def test_each_stage_of_a_query_is_timed(started: tuple[str, Service]) -> None:
    url, _ = started
    with Client(url) as client:
        client.put_item("words", "a", {"rgb": png(1)}, "a dog")
        before = scraped(url)
        client.query("words", "a dog")
        client.query_batch("words", ["a dog", "a cat", "a tree"])
    after = scraped(url)
    for stage, times in (("decode", 2), ("model", 2), ("index", 4)):  # it follows the log, then searches
        name = "anyseek_stage_seconds_count"
        assert value(after, name, stage=stage) - value(before, name, stage=stage) == times, stage
    assert value(after, "anyseek_stage_seconds_count", stage="catalogue") > 0
    name = "anyseek_model_batch_samples_sum"
    assert value(after, name) - value(before, name) == 4


def test_the_installation_is_seen_in_numbers(started: tuple[str, Service], tmp_path: Path) -> None:
    url, service = started
    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / "good.png").write_bytes(png(1))
    (photos / "bad.png").write_bytes(b"no picture")
    settled = value(scraped(url), "anyseek_inputs_settled_total")
    job = service.runtime.submit_index("words", photos, prune=False)
    with Client(url) as client:
        assert [seen["job"]["state"] for seen in client.watch(job)][-1] == "done"
    seen = scraped(url)
    (failure,) = httpx.get(f"{url}/v1/jobs/{job}/failures").json()["failures"]
    assert value(seen, "anyseek_quarantined_inputs", reason=failure["code"]) == 1
    assert value(seen, "anyseek_inputs_settled_total") - settled == 2
    assert value(seen, "anyseek_collections") == 1
    assert value(seen, "anyseek_index_lag_entries") >= 0
    assert value(seen, "anyseek_free_disk_bytes") > 0
    assert value(seen, "process_resident_memory_bytes") > 0
    assert value(seen, "anyseek_check_state", check="database") == 0
    assert ("anyseek_check_state", frozenset({("check", "database")})) in seen


def test_labels_have_few_values(started: tuple[str, Service]) -> None:
    url, service = started
    routes = {*create_app(service).openapi()["paths"], "/", "/docs", "/credits", "/openapi.json", "none"}
    seen = scraped(url)
    assert not [name for name, _ in seen if name.endswith("_created")]
    labels = {label for _, labels in seen for label in labels}
    known = {"method", "route", "status", "stage", "le", "check", "state", "kind", "reason", "queue", "task", "outcome"}
    assert {name for name, _ in labels} <= known
    assert {content.replace(":key}", "}") for name, content in labels if name == "route"} <= routes


def test_a_key_of_the_scope_metrics_reads_metrics_and_nothing_else(started: tuple[str, Service]) -> None:
    url, service = started
    key = create_key(service.runtime.database, "prometheus", Scope.METRICS)
    assert httpx.get(f"{url}/metrics").status_code == 401
    assert scraped(url, key)
    assert scraped(url, create_key(service.runtime.database, "me", Scope.READ))
    described = create_app(service).openapi()["paths"]
    requests = [(method, path) for path in described if path.startswith("/v1") for method in described[path]]
    assert len(requests) > 25
    for method, path in requests:
        answer = httpx.request(method, url + re.sub(r"\{.*?\}", "1", path), headers=bearer(key), json={})
        assert (answer.status_code, answer.json()["type"]) == (403, "urn:anyseek:scope-missing"), (method, path)
    with service.runtime.database.write() as session:
        api_keys.revoke(session, "prometheus")
    assert httpx.get(f"{url}/metrics", headers=bearer(key)).status_code == 401


def test_metrics_are_read_while_the_database_fails(started: tuple[str, Service]) -> None:
    url, service = started
    key = create_key(service.runtime.database, "prometheus", Scope.METRICS)
    assert value(scraped(url, key), "anyseek_check_state", check="database") == 0
    with service.runtime.database.write() as session:
        session.execute(text("ALTER TABLE api_keys RENAME TO keys_elsewhere"))
        session.execute(text("ALTER TABLE owners RENAME TO owners_elsewhere"))
    seen = scraped(url, key)
    assert value(seen, "anyseek_check_state", check="database") == 2
    assert value(seen, "anyseek_installation_age_seconds") > 0, "the last numbers are shown with their age"
    for other in ("anyseek_wrong", "anyseek_"):
        answer = httpx.get(f"{url}/metrics", headers=bearer(other))
        assert answer.status_code == 503, "nobody else is let in while keys cannot be looked up"


def test_metrics_are_read_while_all_threads_are_busy(all_threads_busy: str) -> None:
    assert value(scraped(all_threads_busy), "anyseek_http_requests_in_progress") == THREADS + 1
