"""Names of ids in segmentation maps stay with the item that they came with."""

import io
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from anyseek.indexer.indexing import open_collection
from anyseek.indexer.put import put_item, remake
from anyseek.indexer.runs import Tools
from anyseek.indexer.samples import RawFile, class_names, read_originals
from anyseek.model.seam import Regions
from anyseek.search.errors import StoreCorrupt
from anyseek.search.types import Item
from tests.indexer.harness import NAME, check_agreement, held, index, installation
from tests.indexer.pictures import png

NAMES = {0: "wall", 1: "sofa", 7: "Fußboden"}


@pytest.fixture
def tools(tmp_path: Path) -> Iterator[Tools]:
    with installation(tmp_path / "home") as tools:
        open_collection(tools, NAME)
        yield tools


def _regions() -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.repeat(np.array([[0, 1, 7]], np.uint8), 3, axis=0)).save(file, "PNG")
    return file.getvalue()


def _names_in(item: Item, tools: Tools) -> object:
    value = read_originals(item, tools.assets, tools.settings.limits)["semseg"]
    assert isinstance(value, Regions)
    return dict(value.classes)


def test_names_of_an_item_that_was_put(tools: Tools) -> None:
    files = [RawFile("rgb", png(1), "a.png"), RawFile("semseg", _regions(), "a.regions.png", NAMES)]
    item = put_item(tools, NAME, "k", files)
    assert set(item.assets) == {"rgb", "semseg", "semseg.classes", "thumbnail"}
    assert _names_in(item, tools) == NAMES
    assert put_item(tools, NAME, "k", files) == item, "the same again writes nothing"
    other = put_item(tools, NAME, "l", [*files[:1], RawFile("semseg", _regions(), "b.png", NAMES)])
    assert other.assets["semseg.classes"].location == item.assets["semseg.classes"].location
    check_agreement(tools)


def test_names_of_an_item_of_a_folder(tools: Tools, tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    (folder / "a.png").write_bytes(png(1))
    (folder / "a.regions.png").write_bytes(_regions())
    classes = {str(number): name for number, name in NAMES.items()}
    described = {"file": "a.png", "modalities": {"semseg": {"file": "a.regions.png", "classes": classes}}}
    (folder / "manifest.jsonl").write_text(json.dumps(described), encoding="utf-8")
    index(tools, folder)
    (item,) = held(tools).values()
    assert _names_in(item, tools) == NAMES
    made = remake(lambda: tools, [item])[item.key]
    assert "semseg.classes" in {asset.name for asset in made.assets}, "an item that is made anew keeps them"


def test_an_item_without_names_has_none(tools: Tools) -> None:
    item = put_item(tools, NAME, "k", [RawFile("rgb", png(1), "a.png"), RawFile("semseg", _regions(), "a.png")])
    assert set(item.assets) == {"rgb", "semseg", "thumbnail"}
    assert class_names(item, "semseg", tools.assets) == {}
    assert _names_in(item, tools) == {}


def test_names_that_were_changed_on_disk_are_not_believed(tools: Tools) -> None:
    files = [RawFile("rgb", png(1), "a.png"), RawFile("semseg", _regions(), "a.png", NAMES)]
    item = put_item(tools, NAME, "k", files)
    tools.assets.path(item.assets["semseg.classes"]).write_text('{"0": "ceiling"}')
    with pytest.raises(StoreCorrupt, match=r"semseg\.classes"):
        read_originals(item, tools.assets, tools.settings.limits)
