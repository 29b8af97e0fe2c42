"""Features of a small recipe: made once, gone on with, read back as material; skipped until encoders were pulled."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from anyseek.model.data.samples import Split
from anyseek.model.encoders.pull import check_encoders
from anyseek.model.errors import WeightsMissing
from anyseek.model.training.towers.features import Described, main, read_files
from anyseek.model.training.towers.fit import read_classes
from anyseek.model.training.towers.material import Choice, read_material, thing_of
from tests.model.data.sources.packs_kit import about, encoded, picture, write_shard

HOME = Path(os.environ.get("ANYSEEK_HOME", "~/.anyseek")).expanduser()
RECIPE = """
name: small
image_size: 32
shard_samples: 4
sources:
  - {{kind: captions, path: {folder}}}
  - {{kind: sketches, path: {folder}}}
"""


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Features of six photos with captions, of which two are for research, and of a photo with a sketch."""
    try:
        check_encoders(HOME)
    except WeightsMissing as error:
        pytest.skip(str(error))
    root = tmp_path_factory.mktemp("features")
    said = [about(id=f"p/{n}", source="p", captions=[f"photo {n}", "a green field"]) for n in range(4)]
    photos = [(one, {"webp": picture(20 + n, 16)}) for n, one in enumerate(said)]
    write_shard(root / "captions-open-000000.tar", photos)
    write_shard(root / "captions-research-000000.tar", [({**one, "source": "q"}, files) for one, files in photos[:2]])
    sketch = {"file": "0.png", "id": "s/0"}
    paired = about(id="s/1", source="sketchy", label="bar", sketches=[sketch])
    bar = np.pad(np.zeros((4, 20), np.uint8), 6, constant_values=255)
    write_shard(root / "sketches-research-000000.tar", [(paired, {"webp": picture(), "0.png": encoded(bar)})])
    (root / "recipe.yaml").write_text(RECIPE.format(folder=root))
    made = _run(root)
    assert made.exit_code == 0, made.output
    return root / "out"


def _run(root: Path):
    return CliRunner().invoke(main, [str(root / "recipe.yaml"), "--out", str(root / "out"), "--fine", "rgb"])


def test_every_sample_has_its_vectors_and_captions(out: Path) -> None:
    described, arrays = zip(*read_files(out, Split.TRAIN), strict=True)
    samples = [one for file in described for one in file]
    assert len(samples) == 7
    assert sum(len(one.captions) for one in samples) == sum(len(file["caption/owner"]) for file in arrays) == 12
    pooled = torch.cat([file["rgb/pooled"] for file in arrays])
    assert pooled.shape == (7, 1280)
    assert pooled.any(dim=1).all()
    assert sum(file["line_drawing/pooled"].any(dim=1).sum() for file in arrays if "line_drawing/pooled" in file) == 1
    for file in arrays:
        assert file["rgb/places"].shape[1:] == (112, 4, 4)
        assert "rgb/fine" not in file


def test_files_that_are_there_are_not_made_again(out: Path) -> None:
    paths = sorted(out.glob("*.safetensors"))
    assert len(paths) == 2
    paths[1].unlink()
    before = paths[0].stat().st_mtime_ns
    assert _run(out.parent).exit_code == 0
    assert sorted(out.glob("*.safetensors")) == paths
    assert paths[0].stat().st_mtime_ns == before


def test_pictures_without_an_id_of_their_own_are_told_apart_across_files() -> None:
    said = [
        Described("emoji/a/1", {"concept": "1F600"}, ()),
        Described("emoji/b/1", {"concept": "1F600"}, ()),
        Described("rooms/train-1", {}, ()),
        Described("rooms/train-2", {}, ()),
        Described("captions/open/1", {"id": "coco/7"}, ()),
    ]
    things = [thing_of(described) for described in said]
    assert things[0] == things[1], "two vendors draw one concept"
    assert len(set(things)) == 4


def test_material_has_what_is_chosen(out: Path) -> None:
    classes = read_classes()
    every = read_material([out], Choice(), classes)
    assert every.sources == ("p", "q", "sketchy")
    assert len(every.thing) == 7
    assert len(every.captions.vectors) == 12
    (name,) = every.rendered["canny_edge"]
    assert name == "sketchy/line_drawing"
    drawn = every.rendered["canny_edge"][name]
    assert drawn.paired.tolist() == [0]
    assert drawn.photos.shape == (1, 1280)
    free = read_material([out], Choice(open_only=True), classes)
    assert free.sources == ("p",)
    assert not free.rendered
    assert read_material([out], Choice(frozenset({"p"})), classes).sources == ("q", "sketchy")
    with pytest.raises(ValueError, match="no photos with captions"):
        read_material([out], Choice(frozenset({"p", "q", "sketchy"})), classes)
