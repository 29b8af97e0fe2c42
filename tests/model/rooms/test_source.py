"""Samples of Debian's furniture: whole, the same every time, and described truly."""

import multiprocessing
import re
from concurrent.futures import ProcessPoolExecutor
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from anyseek.model.data.contents import entry_of, sample_of
from anyseek.model.data.errors import SampleInvalid, SourceUnavailable
from anyseek.model.data.samples import DataSample, Split
from anyseek.model.rooms.captions import NAMES, plural
from anyseek.model.rooms.catalogue import class_names, read_catalogue, split_catalogue
from anyseek.model.rooms.source import RoomsOptions, RoomsSource

VIEWS = 4
SIZE = 96


@pytest.fixture(scope="module")
def source(furniture: Path) -> RoomsSource:
    return RoomsSource("rooms", RoomsOptions(furniture=furniture, train=10, val=3, test=VIEWS), SIZE)


@pytest.fixture(scope="module")
def samples(source: RoomsSource) -> list[DataSample]:
    return [source.sample(key) for key in source.keys(Split.TEST)]


def test_a_sample_is_the_same_in_another_process(source: RoomsSource, samples: list[DataSample]) -> None:
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        sample = pool.submit(source.sample, samples[1].key).result()
    assert entry_of("a/b", sample) == entry_of("a/b", samples[1])


def test_every_value_can_be_stored(samples: list[DataSample]) -> None:
    for sample in samples:
        stored = sample_of(entry_of("rooms/a", sample))
        assert stored.key == sample.key
        assert stored.values.keys() == sample.values.keys()
        assert (stored.values["semseg"].ids == sample.values["semseg"].ids).all()
        np.testing.assert_allclose(stored.values["depth"], sample.values["depth"], atol=1e-4)


def test_maps_are_aligned_and_complete(samples: list[DataSample]) -> None:
    names = class_names()
    for sample in samples:
        values = sample.values
        assert values["rgb"].shape == values["normal"].shape == (SIZE, SIZE, 3)
        assert np.isfinite(values["depth"]).all()
        assert 0.2 < values["depth"].min() < values["depth"].max() < 10
        lengths = np.linalg.norm(values["normal"] / 127.5 - 1.0, axis=2)
        np.testing.assert_allclose(lengths, 1, atol=0.02)
        semseg, instances = values["semseg"], values["instances"]
        assert semseg.classes == {number: names[number] for number in np.unique(semseg.ids).tolist()}
        assert ((semseg.ids > 3) == (instances.ids > 0)).all()
        for number, name in instances.classes.items():
            assert {names[one] for one in np.unique(semseg.ids[instances.ids == number]).tolist()} == {name}


def test_surfaces_face_the_camera(samples: list[DataSample]) -> None:
    for sample in samples[:3]:
        fov = np.deg2rad(sample.attributes["camera"]["fov"])
        across = (2 * (np.arange(SIZE) + 0.5) / SIZE - 1) * np.tan(fov / 2)
        rays = np.stack([*np.meshgrid(across, -across), np.full((SIZE, SIZE), -1.0)], axis=2)
        facing = (rays * (sample.values["normal"] / 127.5 - 1.0)).sum(axis=2)
        assert facing.max() < 0.02


def test_a_split_shows_only_its_own_objects(source: RoomsSource, samples: list[DataSample]) -> None:
    held_out = {item.id for item in split_catalogue(read_catalogue(source.furniture))[Split.TEST]}
    shown = {thing["object"] for sample in samples for thing in sample.attributes["things"]}
    assert shown <= held_out
    assert len(shown) > 5


def test_captions_are_true_of_the_maps(samples: list[DataSample]) -> None:
    claims = 0
    for sample in samples:
        assert len(sample.values["caption"]) >= 2
        for caption in sample.values["caption"]:
            claims += check_claims(caption.text, sample)
    assert claims > 6


NUMBERS = {"two": 2, "three": 3, "four": 4, "five": 5}
COLOURS = "|".join(NAMES)
SIDES = re.compile(r"an? ([a-z -]+?) (?:to the |on the )?(left|right) of an? ([a-z -]+?)[.;]", re.IGNORECASE)


def check_claims(text: str, sample: DataSample) -> int:
    """Checks what a caption says of left, right and numbers against the sample's maps; gives how many claims."""
    claims = 0
    for first, side, second in SIDES.findall(text):
        pairs = product(middles(first, sample), middles(second, sample))
        assert (side == "left") in [left < right for left, right in pairs], text
        claims += 1
    things = sample.attributes["things"]
    for noun in {noun for thing in things for noun in nouns(thing)}:
        pattern = rf"\b({'|'.join(NUMBERS)}) (?:({COLOURS}) )?{plural(noun)}\b(?: in ({COLOURS}))?"
        for number, colour, clothes in re.findall(pattern, text, re.IGNORECASE):
            counted = [thing for thing in things if noun in nouns(thing) and thing["share"] >= 0.0005]
            assert len(counted) == NUMBERS[number.lower()], text
            assert not (colour or clothes) or {thing["colour"] for thing in counted} == {colour or clothes}, text
            claims += 1
    return claims


def nouns(thing: dict[str, Any]) -> tuple[str, ...]:
    return next(item.nouns for item in read_catalogue() if item.id == thing["object"])


def middles(words: str, sample: DataSample) -> list[int]:
    """Twice the middle column of each thing that words such as "red chair" can mean."""
    numbers = [
        number
        for number, thing in enumerate(sample.attributes["things"], start=1)
        for noun in nouns(thing)
        if words in (noun, f"{thing['colour']} {noun}", f"{noun} in {thing['colour']}")
    ]
    columns = [np.flatnonzero((sample.values["instances"].ids == number).any(axis=0)) for number in numbers]
    return [int(each[0] + each[-1]) for each in columns]


def test_named_colours_show_in_the_picture(samples: list[DataSample]) -> None:
    """Of things called red, green or blue, that channel is the strongest in the picture, whatever the light."""
    channels = {"red": 0, "green": 1, "blue": 2}
    checked = 0
    for sample in samples:
        for number, thing in enumerate(sample.attributes["things"], start=1):
            if thing["colour"] in channels and thing["share"] > 0.01:
                pixels = sample.values["rgb"][sample.values["instances"].ids == number]
                assert int(np.median(pixels, axis=0).argmax()) == channels[thing["colour"]]
                checked += 1
    assert checked


def test_what_is_wrong_is_said(source: RoomsSource, tmp_path: Path) -> None:
    with pytest.raises(SampleInvalid, match="train-00012"):
        source.sample("nothing-1")
    with pytest.raises(SourceUnavailable, match="apt-get"):
        RoomsSource("rooms", RoomsOptions(furniture=tmp_path), SIZE)
    with pytest.raises(SourceUnavailable, match="16 pixels"):
        RoomsSource("rooms", RoomsOptions(), 4)
