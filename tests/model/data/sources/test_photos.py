"""The photos' shards: splits as they say, labels that say something, licences kept."""

import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from anyseek.model.data.errors import SourceUnavailable
from anyseek.model.data.samples import Caption, Origin, Split
from anyseek.model.data.sources.photos import Options, PhotosSource

SHARED = Path(__file__).parents[5] / "shared" / "data" / "photos"

Photos = Callable[..., Path]


def about(**changes: object) -> dict[str, object]:
    said = {"id": "x/1.jpg", "source": "caltech101", "license": "CC BY 4.0", "label": "cup", "width": 300}
    return said | {"height": 200, "split": "train"} | changes


@pytest.fixture
def photos(tmp_path: Path) -> Photos:
    """Writes photos with these descriptions into shards of two."""

    def write(*said: dict[str, object]) -> Path:
        picture = io.BytesIO()
        Image.new("RGB", (12, 8), (0, 90, 0)).save(picture, "WEBP", lossless=True)
        for number, one in enumerate(said):
            with tarfile.open(tmp_path / f"photos-{number // 2:06d}.tar", "a") as archive:
                for ending, data in (("webp", picture.getvalue()), ("json", json.dumps(one).encode())):
                    member = tarfile.TarInfo(f"{number:06d}.{ending}")
                    member.size = len(data)
                    archive.addfile(member, io.BytesIO(data))
        return tmp_path

    return write


def test_a_photo_has_its_split_label_caption_and_licence(photos):
    said = [about(), about(split="test", label="green apple", coarse_label="apple", caption="A sour apple.")]
    source = PhotosSource("photos", Options(photos(*said, about(split="val"))))
    assert [list(source.keys(split)) for split in Split] == [["000000"], ["000002"], ["000001"]]
    sample = source.sample("000001")
    assert sample.values["rgb"].shape == (8, 12, 3)
    assert sample.values["caption"] == (Caption("A sour apple.", Origin.HUMAN),)
    assert sample.attributes == {
        "medium": "photo",
        "label": "green apple",
        "concept": "caltech101/green apple",
        "tags": ["apple"],
        "source": "caltech101",
        "id": "x/1.jpg",
        "licence": "CC BY 4.0",
        "original_width": 300,
        "original_height": 200,
    }


@pytest.mark.parametrize("label", [None, "not sure", "skip", "other", "background google"])
def test_a_label_that_names_no_class_is_none(photos, label):
    folder = photos(about(label=label), about())
    assert "label" not in PhotosSource("p", Options(folder)).sample("000000").attributes
    assert list(PhotosSource("p", Options(folder, labelled=True)).keys(Split.TRAIN)) == ["000001"]


def test_whole_and_cropped_faces_are_one_concept(photos):
    source = PhotosSource("p", Options(photos(about(label="faces"), about(label="faces easy"))))
    concepts = {source.sample(key).attributes["concept"] for key in source.keys(Split.TRAIN)}
    assert concepts == {"caltech101/faces"}


def test_a_photo_without_a_split_is_refused(photos):
    with pytest.raises(SourceUnavailable, match=r"000000 has no \.json with its split"):
        PhotosSource("p", Options(photos(about(split="dev"))))


@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared photos are not here")
def test_the_shared_photos_are_as_many_as_their_readme_says():
    source = PhotosSource("photos", Options(SHARED))
    assert [len(source.keys(split)) for split in Split] == [13_599, 834, 5_765]
    assert source.sample("000000").values["rgb"].ndim == 3
