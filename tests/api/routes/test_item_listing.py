"""Listings of items by key and by date, with filters, a page at a time."""

from typing import Any

import httpx
import pytest

from anyseek import Client
from tests.api.conftest import problem

DATES = {
    "b": "2024-05-01T10:00:00+02:00",
    "d": "2024-05-01T08:00:00Z",  # the same moment as b
    "a": "2023-01-01",
    "e": ["2025-01-01", "2022-01-01"],  # the earliest counts
    "c": None,
    "f": "no date",
}


@pytest.fixture
def dated(http: httpx.Client, collection: str) -> str:
    with Client(str(http.base_url)) as client:
        for key, taken in DATES.items():
            attributes: dict[str, Any] = {} if taken is None else {"taken": taken}
            client.put_item(collection, key, {}, f"item {key}", {"even": key in "bdf"} | attributes)
    return collection


def _pages(http: httpx.Client, collection: str, limit: int, **asked: Any) -> list[str]:
    keys: list[str] = []
    after: dict[str, str] = {}
    while True:
        answer = http.get(f"/v1/collections/{collection}/items", params={"limit": limit} | asked | after)
        assert answer.status_code == 200, answer.text
        page = answer.json()
        assert len(page["items"]) <= limit
        keys += [item["key"] for item in page["items"]]
        if page["next"] is None:
            return keys
        after = {"after": page["next"]}


@pytest.mark.parametrize("limit", [1, 2, 3, 100])
@pytest.mark.parametrize(("sort", "keys"), [("key", "abcdef"), ("newest", "bdaecf"), ("oldest", "eabdcf")])
def test_items_come_in_order_a_page_at_a_time(http: httpx.Client, dated: str, sort: str, keys: str, limit: int) -> None:
    assert "".join(_pages(http, dated, limit, sort=sort)) == keys


@pytest.mark.parametrize("limit", [1, 2, 100])
@pytest.mark.parametrize(("sort", "keys"), [("key", "bdf"), ("newest", "bdf"), ("oldest", "bdf")])
def test_a_filter_leaves_items_out(http: httpx.Client, dated: str, sort: str, keys: str, limit: int) -> None:
    assert "".join(_pages(http, dated, limit, sort=sort, where="even = true")) == keys
    assert _pages(http, dated, limit, sort=sort, where="even = 5") == []


def test_what_is_no_filter_order_or_cursor_is_refused(http: httpx.Client, dated: str) -> None:
    path = f"/v1/collections/{dated}/items"
    for wrong in ("even =", "@id = 1"):
        problem(http.get(path, params={"where": wrong}), 422, "bad-filter")
    problem(http.get(path, params={"sort": "size"}), 422, "invalid-request")
    problem(http.get(path, params={"sort": "newest", "after": "b"}), 422, "bad-input")
    problem(http.get(path, params={"sort": "newest", "after": "nan b"}), 422, "bad-input")
    problem(http.get(path, params={"sort": "oldest", "after": "-inf b"}), 422, "bad-input")


def test_an_item_deleted_between_two_pages_does_not_end_the_listing(http: httpx.Client, dated: str) -> None:
    path = f"/v1/collections/{dated}/items"
    first = http.get(path, params={"sort": "newest", "limit": 2}).json()
    http.delete(f"{path}/d")
    rest = http.get(path, params={"sort": "newest", "after": first["next"]}).json()
    assert [item["key"] for item in rest["items"]] == ["a", "e", "c", "f"]


def test_facets_count_the_items_of_each_value(http: httpx.Client, dated: str) -> None:
    fields = {field["field"]: field for field in http.get(f"/v1/collections/{dated}/facets").json()["fields"]}
    assert fields["even"]["items"] == 6
    assert {value["value"]: value["items"] for value in fields["even"]["values"]} == {True: 3, False: 3}
    taken = fields["taken"]
    assert (taken["items"], taken["distinct"]) == (5, 6)
    assert taken["first"].startswith("2022-01-01")
    assert taken["last"].startswith("2025-01-01")
    assert taken["least"] is None
    assert len(http.get(f"/v1/collections/{dated}/facets?values=1").json()["fields"][1]["values"]) == 1


def test_facets_of_the_items_that_pass_a_filter(http: httpx.Client, dated: str) -> None:
    path = f"/v1/collections/{dated}/facets"
    fields = {field["field"]: field for field in http.get(path, params={"where": "even = true"}).json()["fields"]}
    assert (fields["even"]["items"], fields["even"]["values"]) == (3, [{"value": True, "items": 3}])
    assert http.get(path, params={"where": "@key exists"}).json() == http.get(path).json()
    assert http.get(path, params={"where": "@key = nobody"}).json() == {"fields": []}
    problem(http.get(path, params={"where": "even ="}), 422, "bad-filter")


def test_facets_of_numbers_are_a_range(http: httpx.Client, collection: str) -> None:
    with Client(str(http.base_url)) as client:
        for width in (3, 4.5):
            client.put_item(collection, str(width), {}, "x", {"size": {"width": width}})
    (field,) = http.get(f"/v1/collections/{collection}/facets").json()["fields"]
    assert (field["field"], field["least"], field["most"], field["values"]) == ("size.width", 3, 4.5, [])


KEYS = (
    "top.jpg",
    "2024/a.jpg",
    "2024/05/b.jpg",
    "2024/05/c.jpg",
    "2024/05 b/d.jpg",
    "2023/é/e.jpg",
    "/odd.jpg",
    "2024",
)


@pytest.fixture
def foldered(http: httpx.Client, collection: str) -> str:
    with Client(str(http.base_url)) as client:
        for number, key in enumerate(KEYS):
            client.put_item(collection, key, {}, key, {"taken": f"2024-01-{10 + number}"})
    return collection


def _folders(http: httpx.Client, collection: str, **asked: Any) -> list[tuple[str, int, str]]:
    answer = http.get(f"/v1/collections/{collection}/folders", params=asked)
    assert answer.status_code == 200, answer.text
    return [(folder["path"], folder["items"], folder["cover"]) for folder in answer.json()["folders"]]


def test_folders_are_what_stands_before_a_slash_of_keys(http: httpx.Client, foldered: str) -> None:
    top = [("/", 1, "/odd.jpg"), ("2023/", 1, "2023/é/e.jpg"), ("2024/", 4, "2024/05 b/d.jpg")]
    assert _folders(http, foldered) == top
    in_2024 = [("2024/05 b/", 1, "2024/05 b/d.jpg"), ("2024/05/", 2, "2024/05/b.jpg")]
    assert _folders(http, foldered, folder="2024") == _folders(http, foldered, folder="2024/") == in_2024
    assert _folders(http, foldered, folder="2023/é") == _folders(http, foldered, folder="none") == []


@pytest.mark.parametrize("limit", [1, 2])
def test_folders_come_a_page_at_a_time(http: httpx.Client, foldered: str, limit: int) -> None:
    seen: list[str] = []
    after: dict[str, str] = {}
    while True:
        page = http.get(f"/v1/collections/{foldered}/folders", params={"limit": limit} | after).json()
        seen += [folder["path"] for folder in page["folders"]]
        if page["next"] is None:
            break
        after = {"after": page["next"]}
    assert seen == ["/", "2023/", "2024/"]


@pytest.mark.parametrize("sort", ["key", "newest", "oldest"])
def test_a_listing_has_the_items_directly_in_a_folder(http: httpx.Client, foldered: str, sort: str) -> None:
    def listed(folder: str, **asked: str) -> list[str]:
        return sorted(_pages(http, foldered, 2, sort=sort, folder=folder, **asked))

    assert listed("") == ["2024", "top.jpg"]
    assert listed("2024") == ["2024/a.jpg"]
    assert listed("2024/05/") == ["2024/05/b.jpg", "2024/05/c.jpg"]
    assert listed("2024/05", where="@key = '2024/05/c.jpg'") == ["2024/05/c.jpg"]
    assert listed("202") == []
