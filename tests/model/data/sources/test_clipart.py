import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from anyseek.model.data.errors import SampleInvalid, SourceUnavailable
from anyseek.model.data.samples import Shares, Split
from anyseek.model.data.sources.clipart import ClipartOptions, ClipartSource, series_of, trim_margins


def png(size: int) -> bytes:
    file = io.BytesIO()
    noise = np.random.default_rng(size).integers(0, 256, (size, size, 4)).astype(np.uint8)
    Image.fromarray(noise).save(file, "PNG")
    return file.getvalue()


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for folder in ("animals/birds", "food"):
        (tmp_path / folder).mkdir(parents=True)
        for number in range(30):
            (tmp_path / folder / f"thing_{chr(97 + number % 26)}{number // 26}_0{number % 3}.png").write_bytes(png(40))
    (tmp_path / "food" / "tiny.png").write_bytes(png(4))
    (tmp_path / "food" / "huge.png").write_bytes(png(150))
    return tmp_path


def test_pictures_that_are_tiny_or_huge_are_left_out(tree, monkeypatch):
    monkeypatch.setattr("anyseek.model.data.sources.clipart._MAX_PIXELS", 10_000)
    source = ClipartSource("clipart", ClipartOptions(path=tree), Shares(val=0.2, test=0.2))
    keys = [key for split in Split for key in source.keys(split)]
    assert len(keys) == len(set(keys)) == 60
    assert not [key for key in keys if "tiny" in key or "huge" in key]


def test_variants_of_a_drawing_are_in_one_split(tree):
    source = ClipartSource("clipart", ClipartOptions(path=tree), Shares(val=0.3, test=0.3))
    split_of = {key: split for split in Split for key in source.keys(split)}
    series = {series_of(key) for key in split_of}
    assert len(set(split_of.values())) == 3
    assert all(len({split for key, split in split_of.items() if series_of(key) == each}) == 1 for each in series)


@pytest.mark.parametrize(
    ("key", "subject", "words", "series"),
    [
        ("animals/birds/brown-owl_ann_01.png", "birds", ["brown owl ann"], "animals/birds/brown owl ann"),
        ("signs_and_symbols/17.png", "signs and symbols", [], "signs_and_symbols/"),
    ],
)
def test_a_sample_is_a_picture_named_as_far_as_there_are_words(tmp_path, key, subject, words, series):
    (tmp_path / key).parent.mkdir(parents=True)
    (tmp_path / key).write_bytes(png(40))
    sample = ClipartSource("clipart", ClipartOptions(path=tmp_path), Shares()).sample(key)
    named = {"label": subject, "tags": words, "concept": series, "medium": "clip art"}
    assert named.items() <= sample.attributes.items()
    assert sample.values["rgb"].shape == (40, 40, 3)


def test_a_folder_without_clip_art_is_refused(tmp_path):
    with pytest.raises(SourceUnavailable, match="openclipart-png"):
        ClipartSource("clipart", ClipartOptions(path=tmp_path), Shares())


def test_empty_paper_is_cut_off_but_for_a_margin():
    page = np.full((300, 200, 3), 255, np.uint8)
    page[50:90, 100:160] = 0
    found = trim_margins(page)
    assert found.shape == (40 + 2 * 3, 60 + 2 * 3, 3)
    assert (found[3:-3, 3:-3] == 0).all()
    whole = np.zeros((5, 7, 3), np.uint8)
    np.testing.assert_array_equal(trim_margins(whole), whole)
    with pytest.raises(SampleInvalid, match="blank"):
        trim_margins(page[:40])
