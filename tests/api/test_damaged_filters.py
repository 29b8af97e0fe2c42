"""What a service and a command say of attributes that were damaged in the database, beside the engine's answers."""

import time

import httpx
import pytest
from sqlalchemy import event, text
from sqlalchemy.exc import OperationalError

from anyseek import ApiError, Client
from anyseek.api.service import Service
from anyseek.search.catalogue.session import Database
from anyseek.search.settings import Settings
from anyseek.search.telemetry.metrics import REGISTRY
from anyseek.search.upkeep import derived
from tests.api.conftest import StartService

DAMAGE = "UPDATE facets SET text = 'rad' WHERE text = 'red'"
DATES = "UPDATE facets SET moment = 0 WHERE path = 'taken'"


@pytest.fixture
def served(start_service: StartService) -> tuple[str, Service]:
    """A service with two items, whose attributes are then damaged."""
    url, service = start_service()
    with Client(url, patience=20) as client:
        client.create_collection("a")
        client.put_item("a", "x", caption="x", attributes={"colour": "red", "taken": "2021-05-06"})
        client.put_item("a", "y", caption="y", attributes={"colour": "blue", "taken": "2020-05-06"})
    damage(service.runtime.database, DAMAGE)
    damage(service.runtime.database, DATES)
    return url, service


def damage(database: Database, statement: str) -> None:
    with database.write() as session:
        session.execute(text(statement))


def refuse_to_delete(*call: object) -> None:
    if str(call[2]).startswith("DELETE"):
        raise OperationalError(str(call[2]), {}, Exception("attempt to write a readonly database"))


def test_listings_are_right(served: tuple[str, Service]) -> None:
    for asked in ("items?where=colour = 'red'", "items?sort=newest&limit=1"):
        found = httpx.get(f"{served[0]}/v1/collections/a/{asked}").json()["items"]
        assert [item["key"] for item in found] == ["x"]
        for statement in (DAMAGE, DATES):  # anew, since the listing has mended it
            damage(served[1].runtime.database, statement)


def test_counts_are_right_and_a_mend_is_in_the_audit_log_and_in_the_metrics(served: tuple[str, Service]) -> None:
    before = mends()
    fields = {field["field"]: field for field in httpx.get(f"{served[0]}/v1/collections/a/facets").json()["fields"]}
    assert sorted(one["value"] for one in fields["colour"]["values"]) == ["blue", "red"]
    assert mends() == before + 1
    (entry,) = httpx.get(f"{served[0]}/v1/audit?action=collection.mend").json()["entries"]
    assert (entry["who"], entry["target"]) == ("anyseek", "the attributes of 2 items")


def mends() -> float:
    return REGISTRY.get_sample_value("anyseek_derived_mended_total", {"kind": "attributes"}) or 0.0


def test_what_cannot_be_mended_is_refused(served: tuple[str, Service]) -> None:
    url, service = served
    event.listen(service.runtime.database.engine, "before_cursor_execute", refuse_to_delete)
    for path in ("facets", "items?where=colour = 'red'", "items?sort=oldest"):
        answer = httpx.get(f"{url}/v1/collections/a/{path}")
        assert (answer.status_code, answer.json()["type"]) == (500, "urn:anyseek:store-corrupt")
    assert httpx.get(f"{url}/v1/collections/a/items").status_code == 200


def test_a_command_compares_too(served: tuple[str, Service]) -> None:
    settings: Settings = served[1].runtime.settings
    with Client(settings.home, model="hashing") as local:
        assert [item["key"] for item in local.items("a", where="colour = red")] == ["x"]
    damage(served[1].runtime.database, DAMAGE)
    with Client(settings.home, model="hashing") as local:
        event.listen(local._http._transport.runtime.database.engine, "before_cursor_execute", refuse_to_delete)
        with pytest.raises(ApiError, match="cannot be mended"):
            local.facets("a")


def test_a_service_compares_many_items_beside_its_answers(
    start_service: StartService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(derived, "MAX_FOREGROUND_ITEMS", 0)
    monkeypatch.setattr(derived, "_POLL_SECONDS", 0.05)
    url, service = start_service()
    with Client(url, patience=20) as client:
        client.create_collection("a")
        client.put_item("a", "x", caption="x", attributes={"colour": "red"})
        damage(service.runtime.database, DAMAGE)
        deadline = time.monotonic() + 60
        while not (found := [item["key"] for item in client.items("a", where="colour = red")]):
            assert time.monotonic() < deadline
            time.sleep(0.05)
    assert found == ["x"]
