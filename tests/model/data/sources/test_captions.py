"""Photos with people's captions: all of them kept, squashed photos given a likely shape on demand."""

import pytest

from anyseek.model.data.errors import SampleInvalid
from anyseek.model.data.samples import Caption, Origin, Split
from anyseek.model.data.sources.captions import CaptionsSource, Options
from tests.model.data.sources.packs_kit import SHARED, about, picture, write_shard


@pytest.fixture
def folder(tmp_path):
    said = [
        about(captions=["A dog.", " A brown dog. "], aspect="native"),
        *(about(captions=["A cat."], aspect="squashed", split="test") for _ in range(20)),
    ]
    return write_shard(tmp_path / "captions-open-000000.tar", [(one, {"webp": picture(*_size(one))}) for one in said])


def _size(said):
    return (12, 12) if said["aspect"] == "squashed" else (12, 8)


def test_a_photo_has_all_of_its_captions_and_says_whose_it_is(folder):
    source = CaptionsSource("captions", Options(folder))
    sample = source.sample("open/000000")
    assert sample.values["rgb"].shape == (8, 12, 3)
    assert sample.values["caption"] == (Caption("A dog.", Origin.HUMAN), Caption("A brown dog.", Origin.HUMAN))
    assert sample.attributes == {
        "medium": "photo",
        "aspect": "native",
        "source": "x",
        "licence": "CC BY 4.0",
        "licence_class": "open",
        "id": "x/1",
        "original_width": 300,
        "original_height": 200,
    }


def test_squashed_photos_are_stretched_on_demand_alike_every_time(folder):
    kept, restored = (CaptionsSource("c", Options(folder, restore=restore)) for restore in (False, True))
    keys = kept.keys(Split.TEST)
    assert {kept.sample(key).values["rgb"].shape for key in keys} == {(12, 12, 3)}
    shapes = [restored.sample(key).values["rgb"].shape[:2] for key in keys]
    assert shapes == [restored.sample(key).values["rgb"].shape[:2] for key in keys]
    assert set(shapes) == {(12, 16), (12, 18), (16, 12), (18, 12)}
    assert sum(width > height for height, width in shapes) > 10
    assert restored.sample("open/000000").values["rgb"].shape == (8, 12, 3)


@pytest.mark.parametrize("captions", [None, [], ["A dog.", 3], [""], "A dog."])
def test_a_photo_without_captions_is_left_out(tmp_path, captions):
    folder = write_shard(tmp_path / "captions-open-000000.tar", [(about(captions=captions), {"webp": picture()})])
    with pytest.raises(SampleInvalid, match="no list of captions"):
        CaptionsSource("c", Options(folder)).sample("open/000000")


@pytest.mark.skipif(not (SHARED / "captions").is_dir(), reason="the shared captions are not here")
def test_the_shared_captions_are_as_many_as_their_readme_says():
    source = CaptionsSource("captions", Options(SHARED / "captions"))
    assert [len(source.keys(split)) for split in Split] == [8_958, 560, 1_045]
    without = CaptionsSource("captions", Options(SHARED / "captions", without=("flickr8k",)))
    assert len(without.keys(Split.TRAIN)) == 8_958 - 6_017
    assert source.sample("open/000000").values["rgb"].ndim == 3
