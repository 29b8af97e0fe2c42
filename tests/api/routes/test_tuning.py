"""Tuning a collection over HTTP, by both clients and on the command line, and what survives a move and a backup."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from anyseek import ApiError, AsyncClient, Client, Tuning
from tests.api.conftest import Run, StartService
from tests.indexer.mirrored import NEW, Mirrored
from tests.indexer.test_tuning import Leaning, scene

MODEL = "hashing"


@pytest.fixture(autouse=True)
def _leaning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "anyseek.workers.runtime.load_embedder", lambda name, home, device: Leaning() if name == MODEL else Mirrored()
    )


@pytest.fixture
def run(anyseek: Run, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("ANYSEEK_MODEL", MODEL)
    return anyseek


@pytest.fixture
def scenes(tmp_path: Path) -> Path:
    (tmp_path / "scenes").mkdir()
    for number in range(40):
        scene(number).save(tmp_path / "scenes" / f"{number:02}.png")
    return tmp_path / "scenes"


def tuned_of(collection: dict[str, Any]) -> list[str]:
    return [tuning["modality"] for space in collection["spaces"] for tuning in space["tuned"]]


def test_over_http_by_both_clients(start_service: StartService, scenes: Path) -> None:
    url, _ = start_service(MODEL)

    async def tried() -> Tuning:
        async with AsyncClient(url) as client:
            return await client.tune("c", dry_run=True)

    with Client(url, patience=30) as client:
        client.create_collection("c")
        for path in sorted(scenes.iterdir()):
            client.put_item("c", path.stem, {"rgb": path})
        (trial,) = asyncio.run(tried())["trials"]
        assert (trial["modality"], trial["queries"], trial["kept"]) == ("canny_edge", 40, True)
        assert trial["after"]["at_10"] >= trial["before"]["at_10"]
        assert tuned_of(client.collection("c")) == []
        assert client.tune("c", items=30)["items"] == 30
        assert tuned_of(client.collection("c")) == ["canny_edge"]
        client.reset_tuning("c")
        assert tuned_of(client.collection("c")) == []
        for call, kind in (
            (lambda: client.tune("gone"), "collection-not-found"),
            (lambda: client.reset_tuning("gone"), "collection-not-found"),
            (lambda: client.tune("c", items=3), "invalid-request"),
        ):
            with pytest.raises(ApiError) as refusal:
                call()
            assert refusal.value.type == f"urn:anyseek:{kind}"


@pytest.mark.slow
def test_on_the_command_line_in_a_backup_and_after_a_rollback(run: Run, scenes: Path, tmp_path: Path) -> None:
    assert run("index", str(scenes), "--collection", "c")[0] == 0
    code, said, _ = run("collections", "tune", "c", "--dry-run")
    assert code == 0
    assert said.startswith("canny_edge: R@10 ")
    assert "of 40 queries in hashing; would be kept\n" in said
    assert run("collections", "tune", "c", "--json")[0] == 0
    shown = run("collections", "show", "c")[1]
    assert "tuned to canny_edge: R@10" in shown
    assert "(tuned: canny_edge)" in run("collections", "list")[1]
    before = json.loads(run("collections", "show", "c", "--json")[1])["spaces"]
    assert run("backup", str(tmp_path / "b.tar"))[0] == 0
    assert run("restore", str(tmp_path / "b.tar"), home="other")[0] == 0
    assert json.loads(run("collections", "show", "c", "--json", home="other")[1])["spaces"] == before
    assert run("collections", "reembed", "c", "--model", NEW, home="other")[0] == 0
    assert "tuned" not in run("collections", "show", "c", home="other")[1]
    assert run("collections", "rollback", "c", home="other")[0] == 0
    assert json.loads(run("collections", "show", "c", "--json", home="other")[1])["spaces"] == before
    code, _, said = run("collections", "tune", "c", "--reset", "--dry-run")
    assert (code, "--reset cannot be combined" in said) == (2, True)
    assert run("collections", "tune", "c", "--reset")[0] == 0
    assert "tuned" not in run("collections", "show", "c")[1]
    code, _, said = run("collections", "tune", "c", "--items", "5")
    assert code != 0
    assert "greater than or equal to 20" in said
