"""The names of photos of the test split of Caltech 101, which no weights were fitted to."""

from pathlib import Path

import pytest

from anyseek.model.data.aligned import sample_evenly
from anyseek.model.data.sources.packs import PhotosOptions, PhotosSource
from anyseek.model.home import default_home
from anyseek.model.image_attributes import NamingEmbedder
from anyseek.model.registry.loading import load_embedder
from anyseek.model.seam import Sample

PHOTOS = Path(__file__).parents[4] / "shared/data/photos"
RIGHT = {
    "airplane": ["airplanes"],
    "bird": ["emu", "flamingo", "flamingo head", "ibis", "pigeon", "rooster"],
    "boat": ["ferry", "ketch", "schooner"],
    "butterfly": ["butterfly"],
    "car": ["car side"],
    "chair": ["chair", "windsor chair"],
    "clock": ["watch"],
    "computer": ["laptop"],
    "elephant": ["elephant"],
    "flower": ["lotus", "sunflower", "water lilly"],
    "fruit": ["strawberry"],
    "motorcycle": ["motorbikes"],
    "pizza": ["pizza"],
    "sign": ["stop sign"],
}


@pytest.mark.slow
@pytest.mark.skipif(not PHOTOS.is_dir(), reason="the labelled photos are not there")
def test_four_of_five_names_are_right() -> None:
    embedder = load_embedder("4m-tiny", default_home())
    assert isinstance(embedder, NamingEmbedder)
    source = PhotosSource("photos", PhotosOptions(path=PHOTOS, labelled=True))
    keys = [key for key in source.keys("test") if source.source_of(key) == "caltech101"]
    entries = [source.entries[key] for key in sample_evenly(sorted(keys), 300)]
    samples = [Sample({"rgb": entry.value("rgb", "webp")}) for entry in entries]
    names = embedder.names(embedder.embed_gallery(samples, ["photo_global"])["photo_global"], "photo_global", 1)
    named = [(entry.metadata["label"], each[0]) for entry, each in zip(entries, names, strict=True) if each]
    right = [label in RIGHT.get(name, []) for label, name in named]
    assert len(right) >= 20
    assert sum(right) >= 0.8 * len(right)
