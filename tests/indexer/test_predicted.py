"""Predicted attributes: asked for, kept, filtered by, taken away, and never mixed up with what people wrote."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from sqlalchemy import select

from anyseek.indexer import attributes as predicting
from anyseek.indexer import source_inputs
from anyseek.indexer.attributes import predict_attributes
from anyseek.indexer.errors import BadAttributes
from anyseek.indexer.indexing import ensure_collection, open_job
from anyseek.indexer.put import Patch, patch_item, put_item
from anyseek.indexer.runs import IndexerContext, Owner
from anyseek.indexer.samples import RawFile
from anyseek.indexer.sources.opening import open_source
from anyseek.model.compute.threads import SHARING
from anyseek.model.galleries.photos import FOLDER, read_views
from anyseek.model.hashing import HashingEmbedder
from anyseek.model.home import default_home
from anyseek.model.modalities.reading.pictures import thumbnail
from anyseek.model.registry.loading import load_model
from anyseek.model.seam import Embedder
from anyseek.search.catalogue import collections, facet_counts, jobs, sources
from anyseek.search.catalogue.sources import SourceBusy
from anyseek.search.catalogue.tables import ItemRow, WordsRow
from tests.indexer.harness import NAME, check_agreement, failures, found, held, index, installation, numbers
from tests.indexer.pictures import encoded, write

RED, SKY = (200, 20, 35), (70, 120, 180)


def plain(colour: tuple[int, int, int]) -> bytes:
    return encoded(Image.new("RGB", (48, 32), colour), "PNG")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write(tmp_path / "pictures", {"red.png": plain(RED), "sky.png": plain(SKY)})


def test_inputs_that_are_prepared_at_once_compute_with_one_thread_each(
    context: IndexerContext, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, seen = torch.get_num_threads(), list[int]()

    def predict(thumbnail: bytes, embedder: Embedder) -> dict[str, Any]:
        with SHARING.model_pass():
            seen.append(torch.get_num_threads())
        return {}

    monkeypatch.setattr(SHARING, "threads", 8)
    monkeypatch.setattr(source_inputs, "predict_attributes", predict)
    try:
        index(context, folder, predicts=True)
    finally:
        torch.set_num_threads(before)
    assert seen == [1, 1]


def of(context: IndexerContext, key: str) -> Any:
    return held(context)[key].attributes.get("predicted")


def test_a_picture_is_told_by_its_pixels() -> None:
    halves = np.full((40, 60, 3), RED, np.uint8)
    halves[:, :24] = 255
    told = predict_attributes(thumbnail(halves), HashingEmbedder())["predicted"]
    assert told["colours"] == ["red", "white"]
    assert told["colour_shares"]["red"] == pytest.approx(0.6, abs=0.03)
    luma = 0.6 * (0.299 * 200 + 0.587 * 20 + 0.114 * 35) / 255 + 0.4
    assert told["brightness"] == pytest.approx(luma, abs=0.01)
    assert told["colourfulness"] > 82


@pytest.mark.parametrize("is_settled", [False, True], ids=["read again", "unchanged by its stamp"])
def test_asked_for_later_it_is_added_without_embedding_anew(
    context: IndexerContext, folder: Path, monkeypatch: pytest.MonkeyPatch, is_settled: bool
) -> None:
    if is_settled:
        monkeypatch.setattr("anyseek.indexer.paths.SETTLED_NS", -(10**15))
    index(context, folder)
    assert of(context, "red.png") is None, "nothing is predicted unless somebody asks"
    before, ids = context.embedder.embedded, {key: item.id for key, item in held(context).items()}
    assert numbers(index(context, folder, predicts=True)) == (2, 0, 0, 0)
    assert context.embedder.embedded == before
    assert {key: item.id for key, item in held(context).items()} == ids
    small = context.assets.read(held(context)["red.png"].assets["thumbnail"])
    assert of(context, "red.png") == predict_attributes(small, context.embedder)["predicted"]
    assert numbers(index(context, folder)) == (0, 2, 0, 0)
    monkeypatch.setattr(predicting, "PREDICTING_VERSION", "next")
    assert numbers(index(context, folder)) == (2, 0, 0, 0), "another version predicts anew"
    check_agreement(context)


def test_a_source_keeps_the_choice_until_it_is_taken_back(context: IndexerContext, folder: Path) -> None:
    index(context, folder, predicts=True)
    before = of(context, "red.png")
    (folder / "new.png").write_bytes(plain((30, 140, 50)))
    assert numbers(index(context, folder)) == (1, 2, 0, 0)
    assert of(context, "new.png")["colours"] == ["green"]
    assert of(context, "red.png") == before
    assert numbers(index(context, folder, predicts=False)) == (3, 0, 0, 0)
    assert [key for key in held(context) if of(context, key)] == []


def test_what_was_quarantined_gets_them_when_it_is_tried_again(context: IndexerContext, folder: Path) -> None:
    (folder / "late.png").write_bytes(plain(RED)[:40])
    job = index(context, folder, predicts=True)
    assert numbers(job) == (2, 0, 1, 0)
    (folder / "late.png").write_bytes(plain(SKY))
    with context.database.write() as session:
        assert jobs.reopen(session, job.id) == 1
    index(context, folder)
    assert of(context, "late.png")["colours"] == ["blue"]


def test_the_choice_does_not_change_under_a_running_job(context: IndexerContext, folder: Path) -> None:
    source = open_source(context.settings, folder)
    with Owner(context.database, context.settings) as owner:
        job = open_job(ensure_collection(context, NAME), source, owner, prune=False)
        collection = ensure_collection(context, NAME)
        with pytest.raises(SourceBusy, match=f"job {job.id} is active on this source"):
            open_job(collection, source, owner, prune=False, predicts=True)
        assert open_job(collection, source, owner, prune=False, predicts=False).id == job.id
    with context.database.read() as session:
        assert [each.predicts for each in sources.list_sources(session, collection)] == [False]


def test_filters_and_facets_know_them_and_words_are_of_people_alone(context: IndexerContext, folder: Path) -> None:
    (folder / "sky.json").write_text(json.dumps({"attributes": {"tag": "red"}}))
    index(context, folder, predicts=True)
    assert found(context, "predicted.colours = red") == {"red.png"}
    assert found(context, "predicted.brightness > 0.3 and predicted.colour_shares.blue > 0.9") == {"sky.png"}
    with context.database.read() as session:
        collection = collections.get(session, NAME)
        (counted,) = facet_counts.count(session, collection.id, 10, 10, paths=["predicted.colours"])
        rows = session.execute(select(ItemRow.key, WordsRow.words).join(WordsRow, WordsRow.item_id == ItemRow.id))
        words = {key: set(text.split()) for key, text in rows}
    assert {each.value: each.items for each in counted.values} == {"red": 1, "blue": 1}
    assert ("red" in words["sky.png"], "blue" in words["sky.png"]) == (True, False)


@pytest.mark.parametrize("how", ["sidecar", "table"])
def test_an_input_with_such_an_attribute_of_its_own_is_set_aside(
    context: IndexerContext, folder: Path, how: str
) -> None:
    source = folder / "t.csv" if how == "table" else folder
    if how == "sidecar":
        (folder / "red.json").write_text('{"attributes": {"predicted": {"brightness": 2}}}')
    else:
        source.write_text("file,predicted\nred.png,yes\nsky.png,\n")
    (failure,) = failures(context, index(context, source)).values()
    assert failure.code == "bad-description"
    assert "leave it out or give it another name" in failure.reason
    assert set(held(context)) == {"sky.png"}


def test_put_predicts_on_request_and_a_patch_may_remove_but_not_change_it(context: IndexerContext) -> None:
    files = [RawFile("rgb", plain(RED), "a.png")]

    def patch(attributes: dict[str, object]) -> dict[str, object]:
        return dict(patch_item(context.database, lambda: context, NAME, "k", Patch(attributes)).attributes)

    with pytest.raises(BadAttributes, match="'predicted'"):
        put_item(context, NAME, "k", files, attributes={"predicted": {}})
    assert "predicted" not in put_item(context, NAME, "k", files).attributes
    first, again = (put_item(context, NAME, "k", files, attributes={"n": 1}, predicts=True) for _ in range(2))
    assert (first.attributes["predicted"]["colours"], first.attributes["n"]) == (["red"], 1)
    assert again.version == first.version
    assert "predicted" not in put_item(context, NAME, "words", [], "a dog", predicts=True).attributes
    assert patch({"n": 2})["predicted"] == first.attributes["predicted"]
    with pytest.raises(BadAttributes, match="'predicted'"):
        patch({"predicted": {"brightness": 1}})
    assert "predicted" not in patch({"predicted": None})


@pytest.mark.slow
def test_the_bundled_model_tells_what_a_photo_shows(tmp_path: Path) -> None:
    """A photo of the demo, indexed with the model that comes with the program."""
    photos = tmp_path / "photos"
    photos.mkdir()
    for view in read_views()[:3]:
        shutil.copyfile(FOLDER / view["file"], photos / f"{view['key']}.jpg")
    with installation(tmp_path / "home", load_model("4m-tiny", default_home())) as context:
        index(context, photos)
        before = {key: item.attributes for key, item in held(context).items()}
        assert numbers(index(context, photos, predicts=True)) == (3, 0, 0, 0)
        told = {key: item.attributes["predicted"] for key, item in held(context).items()}
    assert not any("predicted" in attributes for attributes in before.values())
    assert [each["place"]["value"] for each in told.values() if "place" in each] == ["indoors"] * 3
    for each in told.values():
        assert "has_people" not in each
        for name in ("shows", "place"):
            assert name not in each or 0.75 <= each[name]["confidence"] <= 1
