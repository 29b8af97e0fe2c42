"""Moving a collection to another model over HTTP and on the command line, and backups."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from anyseek import ApiError, Client, Part
from tests.api.conftest import Run, StartService, picture
from tests.indexer.mirrored import NEW, OLD, load


@pytest.fixture(autouse=True)
def _two_models(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("anyseek.workers.runtime.load_embedder", load)


@pytest.fixture
def run(anyseek: Run, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("ANYSEEK_MODEL", OLD)
    return anyseek


def ended(client: Client, job: dict[str, Any]) -> dict[str, Any]:
    *_, last = client.watch(job["id"])
    return last["job"]


def fill(client: Client) -> None:
    client.create_collection("c")
    for colour in ("red", "green", "blue"):
        client.put_item("c", colour, {"rgb": picture(colour, "disc")}, attributes={"colour": colour})


def test_a_service_answers_before_and_after_the_switch(start_service: StartService) -> None:
    url, service = start_service(OLD)
    with Client(url, patience=30) as client:
        fill(client)
        asked = [Part("rgb", data=picture("green", "disc"))]
        assert client.query("c", asked, k=1).hits[0].key == "green"
        job = ended(client, client.reembed("c", NEW))
        assert (job["state"], job["kind"], job["indexed"]) == ("done", "reembed", 3)
        assert (client.collection("c")["model"], client.collection("c")["beside"]) == (NEW, {"kept": OLD})
        assert client.query("c", asked, k=1).hits[0].key == "green"
        client.put_item("c", "new", {"rgb": picture("green", "bar")})
        assert ended(client, client.rollback("c"))["indexed"] == 1
        assert client.query("c", asked, k=1).hits[0].key == "green"
        client.forget_old("c")
        assert client.collection("c")["beside"] == {}
        assert len(list((service.runtime.settings.indexes / "1").glob("*"))) <= 1


CALLS: dict[str, Callable[[Client], Any]] = {
    "a query": lambda client: client.query("c", "a disc", k=3).hits,
    "a query alone": lambda client: client.query("c", "a disc", k=3, vectors=True).hits,
    "a batch": lambda client: client.query_batch("c", ["a disc"])[0].hits,
    "several collections": lambda client: client.query(["c"], "a disc", k=3).hits,
    "a put": lambda client: client.put_item("c", "red", {"rgb": picture("red", "bar")}),
    "a patch": lambda client: client.patch_item("c", "red", {"caption": "a red disc"}),
}


def test_a_switch_in_the_midst_of_a_request_is_not_noticed(
    start_service: StartService, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The soak met it: the context was that of the old model, and the collection was switched before they were used."""
    url, service = start_service(OLD)
    with Client(url, patience=30) as client:
        fill(client)
        ended(client, client.reembed("c", NEW))
        old, context_of_collection = service.runtime.context(), service.runtime.context_of_collection
        chosen = iter([old])  # what the next request gets first
        monkeypatch.setattr(
            service.runtime, "context_of_collection", lambda name: next(chosen, None) or context_of_collection(name)
        )
        for name, call in CALLS.items():
            chosen = iter([old])
            assert call(client), name
            assert next(chosen, None) is None, name


def test_refusals_say_what_to_do(start_service: StartService) -> None:
    url, _ = start_service(OLD)
    with Client(url, patience=30) as client:
        fill(client)
        for call, kind in (
            (lambda: client.reembed("gone", NEW), "collection-not-found"),
            (lambda: client.reembed("c", OLD), "already-embedded"),
            (lambda: client.rollback("c"), "nothing-kept"),
            (lambda: client.forget_old("c"), "nothing-kept"),
            (lambda: client.switch("c"), "nothing-built"),
        ):
            with pytest.raises(ApiError) as refusal:
                call()
            assert refusal.value.type == f"urn:anyseek:{kind}"


def test_on_the_command_line(run: Run, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    for colour in ("red", "blue"):
        (tmp_path / "photos" / f"{colour}.png").write_bytes(picture(colour, "box"))
    assert run("index", str(tmp_path / "photos"), "--collection", "c")[0] == 0
    (tmp_path / "photos" / "blue.png").rename(tmp_path / "blue.png")
    code, said, _ = run("collections", "reembed", "c", "--model", NEW)
    assert code == 1
    assert "anyseek collections switch c" in said
    (tmp_path / "blue.png").rename(tmp_path / "photos" / "blue.png")
    code, said, errors = run("collections", "reembed", "c", "--model", NEW, "--json")
    assert (code, json.loads(said)["state"]) == (0, "done"), errors
    assert f"model {NEW}  (kept: {OLD})" in run("collections", "show", "c")[1]
    assert run("verify")[:2] == (0, "everything agrees\n")
    assert run("collections", "rollback", "c")[0] == 0
    assert run("collections", "forget-old", "c")[0] == 0
    assert run("collections", "rollback", "c")[0] == 1
    assert run("collections", "switch", "c")[0] == 1


def test_a_backup_on_the_command_line(run: Run, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "red.png").write_bytes(picture("red", "box"))
    run("index", str(tmp_path / "photos"), "--collection", "c")
    code, said, _ = run("backup", str(tmp_path / "b.tar"))
    assert code == 0
    assert "1 items" in said
    assert run("restore", str(tmp_path / "b.tar"))[0] == 1
    code, said, _ = run("restore", str(tmp_path / "b.tar"), home="other")
    assert (code, "1 stored files" in said) == (0, True)
    assert run("verify", home="other")[:2] == (0, "everything agrees\n")
    before = (tmp_path / "b.tar").read_bytes()
    code, _, told = run("backup", str(tmp_path / "b.tar"), "--no-assets", home="other")
    assert (code, "exists" in told) == (2, True)
    assert (tmp_path / "b.tar").read_bytes() == before
    assert run("backup", str(tmp_path / "b.tar"), "--no-assets", "--yes", home="other")[0] == 0
    assert "yourself" in run("restore", str(tmp_path / "b.tar"), home="third")[2]
