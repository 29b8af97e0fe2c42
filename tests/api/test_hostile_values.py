"""No value makes the service fail: each is refused by one short sentence, and spoils only what it stands in.

On SQLite, and on PostgreSQL where ANYSEEK_TEST_POSTGRES has its address.
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from anyseek.search.catalogue.session import Database
from anyseek.search.catalogue.upgrade import upgrade
from tests.api.conftest import LIMITS, serving
from tests.contracts.catalogue import empty

_POSTGRES = os.environ.get("ANYSEEK_TEST_POSTGRES", "")
_JSON = {"content-type": "application/json"}
_IN_URLS = ("%00", "a%00b", "%ED%A0%80", "%FF", str(1 << 63), "9" * 2_000, "NaN", "%0A", "[", "newest:")
_VALUES: tuple[Any, ...] = (
    "\ud800",
    "a\0b",
    {"\ud800": 1},
    [["\udfff"]],
    10**400,
    -(1 << 63) - 1,
    1e308,
    "x" * 10_001,
    None,
    True,
    {},
    [],
)
_ADDRESSES = (
    "collections/{}",
    "collections/{}/items",
    "collections/{}/facets",
    "collections/a/items/{}",
    "collections/a/assets/{}/x",
    "collections/a/thumbnails/{}",
    "collections/a/items?after={}",
    "collections/a/items?sort=newest&after={}",
    "collections/a/items?folder={}",
    "collections/a/items?where=n+=+'{}'",
    "collections/a/items?where=@key+starts+with+'{}'",
    "collections/a/folders?folder={}",
    "collections/a/folders?after={}",
    "jobs/{}",
    "jobs/{}/events",
    "jobs?before={}",
    "jobs/1/failures?after={}",
    "folders?path={}",
)


@pytest.fixture(
    scope="module",
    params=[
        "sqlite",
        pytest.param("postgres", marks=pytest.mark.skipif(not _POSTGRES, reason="ANYSEEK_TEST_POSTGRES is not set")),
    ],
)
def hostile(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    home: Path = tmp_path_factory.mktemp("hostile")
    more = {}
    if request.param == "postgres":
        database = Database(_POSTGRES)
        upgrade(database)
        empty(database)
        database.close()
        more["database_url"] = _POSTGRES
    with serving(home, limits=LIMITS, **more) as (client, _):
        client.create_collection("a")
        client.put_item("a", "x", caption="x", attributes={"n": 1})
        with httpx.Client(base_url=f"{client.url}/v1/", timeout=60) as http:
            yield http


def _check(answer: httpx.Response) -> None:
    if answer.is_success:
        json.loads(answer.text, parse_constant=_refuse)
        return
    assert 400 <= answer.status_code < 500, answer.text
    assert answer.json()["type"].startswith("urn:anyseek:")
    assert len(answer.text) < 3_000


def _refuse(constant: str) -> None:
    raise AssertionError(f"an answer has {constant}")


def _queries(value: Any) -> list[Any]:
    part = {"text": "a"}
    wrong = [{"parts": [part | {name: value}]} for name in ("modality", "text", "data", "weight", "classes", "name")]
    wrong += [{"parts": [{"item": value}]}, {"parts": value}, value]
    wrong += [{"parts": [part], name: value} for name in ("k", "space", "fusion", "where")]
    filters: list[Any] = [{"field": "n", word: value} for word in ("eq", "gte", "in", "prefix", "box", "radius")]
    filters += [{"field": value, "eq": 1}, {"field": "@key", "eq": value}, {"not": value}, {"and": [value]}]
    return wrong + [{"parts": [part], "where": where} for where in filters]


@pytest.mark.parametrize("address", _ADDRESSES)
def test_no_address_makes_it_fail(hostile: httpx.Client, address: str) -> None:
    for value in _IN_URLS:
        _check(hostile.get(address.format(value)))


def test_no_verb_makes_it_fail(hostile: httpx.Client) -> None:
    for value in _IN_URLS:
        _check(hostile.delete(f"collections/{value}"))
        _check(hostile.put(f"collections/{value}/items/x", files={"caption": (None, "a")}))
        _check(hostile.post(f"jobs/{value}/cancel"))
        _check(hostile.post(f"collections/{value}/query", json={"parts": [{"text": "a"}]}))
    for value in ("%00", "a%00b", "%FF" * 1_500):
        _check(hostile.put(f"collections/a/items/{value}", files={"caption": (None, "a")}))
        _check(hostile.delete(f"collections/a/items/{value}"))


@pytest.mark.parametrize("value", _VALUES, ids=lambda value: repr(value)[:20])
def test_no_query_makes_it_fail_or_spoils_a_batch(hostile: httpx.Client, value: Any) -> None:
    for query in _queries(value):
        _check(hostile.post("collections/a/query", content=json.dumps(query).encode(), headers=_JSON))
    good = {"parts": [{"text": "x"}]}
    for some in (_queries(value)[start : start + 8] for start in range(0, 24, 8)):
        body = {"queries": [good, *some, good]}
        answer = hostile.post("collections/a/query/batch", content=json.dumps(body).encode(), headers=_JSON)
        assert answer.status_code == 200, answer.text
        results = answer.json()["results"]
        assert [results[place]["hits"][0]["key"] for place in (0, -1)] == ["x", "x"]


@pytest.mark.parametrize("value", _VALUES, ids=lambda value: repr(value)[:20])
def test_no_body_or_form_makes_it_fail(hostile: httpx.Client, value: Any) -> None:
    bodies: list[tuple[str, Any]] = [("collections", {"name": value}), ("collections", value)]
    bodies += [("collections/a/jobs", {"source": value}), ("collections/a/jobs", {"source": "/x", "key_prefix": value})]
    bodies += [("collections/a/reembed", {"model": value}), ("collections/a/tune", {"items": value})]
    bodies += [("previews", {"modality": "depth", "data": value}), ("previews", {"modality": value, "data": "AAAA"})]
    bodies += [("predict", {"inputs": [{"modality": "caption", "text": value}], "targets": ["depth"], "model": "no"})]
    for path, body in bodies:
        _check(hostile.post(path, content=json.dumps(body).encode(), headers=_JSON))
    for text in (json.dumps(value), json.dumps({"a": value}), json.dumps({"0": value})):
        _check(hostile.post("collections/a/query", files={"query": (None, text)}))
        for field in ("attributes", "classes", "caption"):
            form = {"caption": (None, "y"), field: (None, text)}
            put = hostile.put("collections/a/items/y", files=form)
            _check(put)
            if put.is_success:
                _check(hostile.get("collections/a/items/y"))
