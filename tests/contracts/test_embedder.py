"""What every `Embedder` does, whatever is behind it: `Embedder`'s docstrings, one by one."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from anyseek.model.errors import UnsupportedModality, WeightsMissing
from anyseek.model.fourm.bundled.layout import INPUTS
from anyseek.model.fourm.bundled.loading import load_bundled
from anyseek.model.image_attributes import AttributeEmbedder, NamingEmbedder
from anyseek.model.modalities.formats.boxes import Box, LabelledBox
from anyseek.model.modalities.formats.metadata import Metadata
from anyseek.model.modalities.registry import MODALITIES
from anyseek.model.registry.loading import load_embedder
from anyseek.model.seam import CodeEmbedder, Embedder, FloatArray, Fusion, Regions, Sample, Value
from tests.model.openclip.making import make_folder
from tests.random_bridge import write_random_bridge
from tests.random_towers import write_bundle_with_towers
from tests.random_weights import write_random_models

HOME = Path(os.environ.get("ANYSEEK_HOME", "~/.anyseek")).expanduser()
CLOSE = 1e-5
BATCH = 16  # the most samples that a model embeds at once


def _house(width: int, height: int, colour: str) -> Image.Image:
    picture = Image.new("RGB", (width, height), "white")
    pen = ImageDraw.Draw(picture)
    pen.rectangle((width * 0.3, height * 0.4, width * 0.7, height * 0.9), fill=colour, outline="black", width=4)
    pen.line((width * 0.2, height * 0.4, width * 0.5, height * 0.1, width * 0.8, height * 0.4), fill="black", width=4)
    return picture


VALUES: dict[str, tuple[Value, ...]] = {
    "rgb": (np.asarray(_house(300, 200, "red")), np.asarray(_house(90, 211, "blue"))),
    "caption": ("a red house", "two houses, and a river with boats between them"),
    "canny_edge": (
        np.asarray(_house(300, 200, "white").convert("L")),
        np.asarray(_house(64, 64, "white").convert("L")),
    ),
    "color_palette": (np.array([[255, 0, 0], [0, 0, 0]], np.uint8), np.array([[0, 90, 200]], np.uint8)),
    "depth": (np.linspace(1, 9, 64, dtype=np.float32).reshape(8, 8), np.eye(30, 20, dtype=np.float32)),
    "normal": (np.asarray(_house(60, 40, "red")), np.full((9, 9, 3), 128, np.uint8)),
    "semseg": (Regions(np.eye(40, 50, dtype=np.uint8)), Regions(np.full((9, 9), 7), {7: "sky"})),
    "bounding_boxes": (
        (LabelledBox(Box(0.1, 0.2, 0.6, 0.9), "chair"), LabelledBox(Box(0.5, 0.5, 1.0, 1.0), "table")),
        (LabelledBox(Box(0.0, 0.0, 0.4, 0.3), "dog"),),
    ),
    "metadata": (Metadata({"brightness": 100.0}), Metadata({"n_humans": 2, "contrast": 20.0})),
    "dinov2_global": (np.eye(768, dtype=np.float32)[0], np.ones(768, np.float32)),
}
NOT_TAKEN, SOMETHING = "visual_global", np.ones(1280, np.float32)  # only ever predicted


@pytest.fixture(scope="module", params=["hashing", "4m-tiny", "with towers", "openclip", "bridge", "4M-21_B"])
def embedder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Embedder:
    name, home = request.param, HOME
    if name == "with towers":
        return _bundle_with_towers(tmp_path_factory.mktemp("bundle") / "4m-tiny")
    if name == "openclip":
        name = f"openclip:local-dir:{make_folder(tmp_path_factory.mktemp('openclip'))}"
    if name == "bridge":
        home = tmp_path_factory.mktemp("bridge")
        name = write_random_bridge(home)
    if name == "4M-21_B":
        home = tmp_path_factory.mktemp("published")
        write_random_models(home)
    try:
        return load_embedder(name, home)
    except WeightsMissing as error:
        pytest.skip(str(error))


def _bundle_with_towers(folder: Path) -> Embedder:
    """A bundle of random weights that takes everything that a bundle can."""
    write_bundle_with_towers(folder)
    try:
        embedder = load_bundled("4m-tiny", HOME, folder)
    except WeightsMissing as error:
        pytest.skip(str(error))
    assert embedder.modalities == INPUTS.keys() <= VALUES.keys()
    return embedder


@pytest.fixture(scope="module")
def samples(embedder: Embedder) -> list[Sample]:
    """Each modality it takes alone, twice, and all of them together, repeated until they are more than a batch."""
    taken = {modality: VALUES[modality] for modality in sorted(embedder.modalities & VALUES.keys())}
    alone = [Sample({modality: value}) for modality, values in taken.items() for value in values]
    different = [*alone, *(Sample({modality: values[n] for modality, values in taken.items()}) for n in range(2))]
    return different * (BATCH // len(different) + 1)


@pytest.fixture(scope="module")
def vectors(embedder: Embedder, samples: list[Sample]) -> dict[str, FloatArray]:
    return embedder.embed(samples, list(embedder.spaces))


@pytest.fixture(scope="module")
def stored(embedder: Embedder, samples: list[Sample]) -> dict[str, FloatArray]:
    """The same samples as items of a gallery, whose vectors nobody may write to."""
    stored = embedder.embed_gallery(samples, list(embedder.spaces))
    for rows in stored.values():
        rows.setflags(write=False)
    return stored


def test_it_says_what_it_is(embedder: Embedder) -> None:
    assert embedder.modalities <= MODALITIES.keys()
    assert len(embedder.fingerprint) == 64
    assert embedder.fusion in Fusion
    for name, space in embedder.spaces.items():
        assert space.name == name
        assert len(space.fingerprint) == 64
        assert space.gallery_prior.shape == (space.dimension,)
        assert space.gallery_prior.dtype == np.float32
        assert space.query_means.keys() <= embedder.modalities
        assert all(means.shape[1:] == (space.dimension,) for means in space.query_means.values())
        assert space.modalities is None or space.modalities <= embedder.modalities
        assert space.instead is None or space.instead in embedder.spaces


def test_every_modality_has_a_default_space(embedder: Embedder) -> None:
    for modality in embedder.modalities:
        space = embedder.spaces[embedder.default_space(modality)]
        assert space.knows(modality)
        assert space.instead is None or embedder.spaces[space.instead].instead is None


@pytest.mark.parametrize("kind", ["vectors", "stored"])
def test_rows_are_float32_unit_vectors(
    embedder: Embedder, samples: list[Sample], kind: str, request: pytest.FixtureRequest
) -> None:
    of_spaces: dict[str, FloatArray] = request.getfixturevalue(kind)
    assert len(samples) > BATCH
    assert of_spaces.keys() == embedder.spaces.keys()
    for name, rows in of_spaces.items():
        assert rows.shape == (len(samples), embedder.spaces[name].dimension)
        assert rows.dtype == np.float32
        np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=CLOSE)


def test_different_samples_get_different_vectors_and_the_same_the_same(
    embedder: Embedder, samples: list[Sample], vectors: dict[str, FloatArray]
) -> None:
    again = embedder.embed(samples, list(embedder.spaces))
    for space, rows in vectors.items():
        np.testing.assert_array_equal(again[space], rows)
        different = {id(sample): n for n, sample in enumerate(samples)}.values()
        once = rows[[n for n in different if any(map(embedder.spaces[space].knows, samples[n].values))]]
        assert len(once) > 1
        assert (once @ once.T - np.eye(len(once))).max() < 1 - 1e-6


def test_a_batch_equals_single_calls(
    embedder: Embedder, samples: list[Sample], vectors: dict[str, FloatArray], stored: dict[str, FloatArray]
) -> None:
    for n, sample in {id(sample): (n, sample) for n, sample in enumerate(samples)}.values():
        alone = embedder.embed([sample], list(embedder.spaces))
        for name, rows in vectors.items():
            np.testing.assert_allclose(rows[n], alone[name][0], atol=CLOSE)
    for name, row in embedder.embed_gallery(samples[4:5], list(embedder.spaces)).items():
        np.testing.assert_allclose(stored[name][4], row[0], atol=CLOSE)


def test_a_modality_it_does_not_take_is_refused_by_name(embedder: Embedder, samples: list[Sample]) -> None:
    sample = Sample({**samples[0].values, NOT_TAKEN: SOMETHING})
    for method in (embedder.embed, embedder.embed_gallery):
        with pytest.raises(UnsupportedModality, match=NOT_TAKEN):
            method([samples[0], sample], list(embedder.spaces))
    with pytest.raises(UnsupportedModality, match=NOT_TAKEN):
        embedder.default_space(NOT_TAKEN)


def test_codes_are_predicted_for_spaces_that_have_them(
    embedder: Embedder, samples: list[Sample], stored: dict[str, FloatArray]
) -> None:
    if not isinstance(embedder, CodeEmbedder) or not embedder.code_spaces:
        pytest.skip(f"{embedder.name} has no codes")
    some = samples[-BATCH - 1 :]
    for name in embedder.code_spaces:
        probabilities = embedder.code_probabilities(some, name)
        count, places, codes = probabilities.shape
        assert (count, probabilities.dtype) == (len(some), np.float32)
        assert embedder.code_probabilities([], name).shape == (0, places, codes)
        np.testing.assert_allclose(probabilities.sum(axis=2), 1, atol=1e-4)
        alone = embedder.code_probabilities(some[:1], name)
        np.testing.assert_allclose(alone[0], probabilities[0], atol=CLOSE)
        of_rows = embedder.codes_of(stored[name], name)
        assert of_rows.shape == (len(samples), places)
        assert of_rows.dtype == np.int64
        assert 0 <= of_rows.min() <= of_rows.max() < codes
        with pytest.raises(UnsupportedModality, match=NOT_TAKEN):
            embedder.code_probabilities([Sample({NOT_TAKEN: SOMETHING})], name)


def test_vectors_have_names_where_a_model_knows_words(embedder: Embedder, stored: dict[str, FloatArray]) -> None:
    if not isinstance(embedder, NamingEmbedder) or not embedder.naming_spaces:
        pytest.skip(f"{embedder.name} knows no words for vectors")
    for space in embedder.naming_spaces:
        rows = stored[space]
        names = embedder.names(rows, space, 4)
        assert len(names) == len(rows)
        assert all(len(set(each)) == len(each) <= 4 for each in names)
        assert embedder.names(rows[:1], space, 4) == names[:1]
        assert embedder.names(rows, space, 1) == [each[:1] for each in names]
        assert not any(name.startswith(("a ", "an ")) for each in names for name in each)
    with pytest.raises(KeyError):
        embedder.names(rows, "no-such-space", 4)


def test_what_is_told_of_a_picture_is_told_again(embedder: Embedder) -> None:
    if not isinstance(embedder, AttributeEmbedder):
        pytest.skip(f"{embedder.name} tells nothing of pictures")
    picture = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
    told = embedder.image_attributes(picture)
    assert embedder.image_attributes(picture) == told
    assert all(0 < each.confidence <= 1 for each in told.values())


def test_only_the_spaces_asked_for_are_given(embedder: Embedder, samples: list[Sample]) -> None:
    for name in embedder.spaces:
        assert embedder.embed(samples[:1], [name]).keys() == {name}
    assert embedder.embed(samples[:1], []) == {}
    for method in (embedder.embed, embedder.embed_gallery):
        for some in ([], samples[:1]):
            with pytest.raises(KeyError):
                method(some, ["no-such-space"])


def test_no_samples_give_no_rows(embedder: Embedder) -> None:
    for method in (embedder.embed, embedder.embed_gallery):
        for name, rows in method([], list(embedder.spaces)).items():
            assert rows.shape == (0, embedder.spaces[name].dimension)
            assert rows.dtype == np.float32
