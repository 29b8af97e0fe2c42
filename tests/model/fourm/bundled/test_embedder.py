"""The bundled embedder itself; skipped until `anyseek models pull encoders` was run."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
from PIL import Image, ImageDraw
from torch import Tensor

from anyseek.model.colours.space import COLOURS
from anyseek.model.encoders.minilm import MiniLM, TextStates
from anyseek.model.errors import UnknownModel, WeightsMissing
from anyseek.model.fourm.bundled import loading
from anyseek.model.fourm.bundled.bundle import TOWERS_SPACE, WEIGHTS, load_bundle
from anyseek.model.fourm.bundled.layout import SEMANTIC, VISUAL
from anyseek.model.fourm.model import FourMModel
from anyseek.model.modalities.formats.spans import FormatInvalid
from anyseek.model.network.transformer import Context
from anyseek.model.registry.loading import load_embedder
from anyseek.model.seam import Embedder, Sample, Value
from tests.model.pulled import HOME, or_skip

SPACES = [VISUAL, SEMANTIC]


def _house(colour: str) -> Image.Image:
    picture = Image.new("RGB", (300, 200), "white")
    pen = ImageDraw.Draw(picture)
    pen.rectangle((100, 90, 200, 180), fill=colour, outline="black", width=4)
    pen.polygon(((80, 90), (150, 30), (220, 90)), outline="black", width=4)
    return picture


@pytest.fixture(scope="module")
def values() -> dict[str, Value]:
    """One value of each modality."""
    return {
        "rgb": np.asarray(_house("red")),
        "caption": "a red house",
        "canny_edge": np.asarray(_house("white").convert("L")),
        "color_palette": np.array([[255, 0, 0], [0, 0, 0]], np.uint8),
    }


def test_a_gallery_of_pictures_predicts_no_vector_that_it_stores_as_it_is(
    tiny: Embedder, values: dict[str, Value], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert isinstance(tiny, FourMModel)
    decoded, decode = list[str](), tiny.parts.network.decode_global

    def recording(context: Context, keys: Sequence[str]) -> dict[str, Tensor]:
        decoded.extend(keys)
        return decode(context, keys)

    monkeypatch.setattr(tiny.parts.network, "decode_global", recording)
    picture, words = Sample({"rgb": values["rgb"]}), Sample({"caption": values["caption"]})
    stored = tiny.embed_gallery([picture, picture], SPACES)
    assert decoded == [SEMANTIC]
    mixed = tiny.embed_gallery([words, picture], SPACES)
    assert sorted(decoded[1:]) == sorted(SPACES)
    for space in SPACES:
        np.testing.assert_allclose(stored[space][0], mixed[space][1], atol=2e-5)
    tiny.embed([picture], SPACES)
    assert sorted(decoded[3:]) == sorted(SPACES)


def test_captions_go_through_in_batches_of_like_length(monkeypatch: pytest.MonkeyPatch, tiny: Embedder) -> None:
    texts = ["a dog " * (1 + 11 * number % 32) for number in range(48)]
    samples, batches = [Sample({"caption": text}) for text in texts], list[list[int]]()
    read = MiniLM.forward

    def recorded(self: MiniLM, batch: Sequence[str]) -> TextStates:
        batches.append([len(text) for text in batch])
        return read(self, batch)

    monkeypatch.setattr(MiniLM, "forward", recorded)
    together = tiny.embed(samples, [SEMANTIC])[SEMANTIC]
    assert [length for batch in batches for length in batch] == sorted(map(len, texts))
    assert max(map(len, batches)) <= 16
    for row in (0, 1, 17, 47):
        np.testing.assert_allclose(tiny.embed([samples[row]], [SEMANTIC])[SEMANTIC][0], together[row], atol=2e-5)


def test_threads_that_embed_at_once_get_what_they_get_alone(tiny: Embedder, values: dict[str, Value]) -> None:
    samples = [
        Sample({"rgb": np.roll(np.asarray(values["rgb"]), 7 * n, axis=1), "caption": "a " * n}) for n in range(1, 9)
    ]
    expected = [tiny.embed_gallery([sample], SPACES) for sample in samples]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda sample: tiny.embed_gallery([sample], SPACES), samples))
    for alone, beside in zip(expected, found, strict=True):
        for space in SPACES:
            np.testing.assert_allclose(beside[space], alone[space], atol=2e-5)


def test_the_image_encoder_is_loaded_with_the_first_picture(
    values: dict[str, Value], monkeypatch: pytest.MonkeyPatch
) -> None:
    load = Mock(side_effect=loading._image_encoder)
    monkeypatch.setattr(loading, "_image_encoder", load)
    with or_skip():
        embedder = load_embedder("4m-tiny", HOME)
    embedder.embed([Sample({"caption": "a red house"})], SPACES)
    load.assert_not_called()
    for _ in range(2):
        embedder.embed([Sample({"rgb": values["rgb"]})], SPACES)
    load.assert_called_once()


def test_odd_inputs_give_unit_vectors(tiny: Embedder) -> None:
    odd: list[dict[str, Value]] = [
        {"caption": "word " * 500},
        {"caption": "汉字 🍕"},
        {"rgb": np.zeros((1, 1, 3), np.uint8)},
        {"rgb": np.zeros((3, 900, 3), np.uint8)},
        {"canny_edge": np.zeros((50, 50), np.uint8)},
        {"color_palette": np.zeros((7, 3), np.uint8)},
    ]
    for space, rows in tiny.embed([Sample(values) for values in odd], SPACES).items():
        assert np.isfinite(rows).all(), space
        np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1.0, atol=1e-5)


def test_a_picture_is_stored_as_its_exact_vector(tiny: Embedder, values: dict[str, Value]) -> None:
    picture = Sample({"rgb": values["rgb"]})
    both = Sample({"rgb": values["rgb"], "caption": "something else"})
    exact = tiny.embed_gallery([picture, both], [VISUAL])[VISUAL]
    np.testing.assert_allclose(exact[0], exact[1], atol=1e-6)
    assert float(exact[0] @ tiny.embed([picture], [VISUAL])[VISUAL][0]) < 0.999


def test_a_drawing_finds_its_picture_and_a_caption_its_colour(tiny: Embedder, values: dict[str, Value]) -> None:
    disc = Image.new("RGB", (300, 200), "white")
    ImageDraw.Draw(disc).ellipse((100, 50, 200, 150), fill="yellow", outline="black", width=4)
    samples = [Sample({"rgb": np.asarray(picture)}) for picture in (_house("red"), disc)]
    gallery = tiny.embed_gallery(samples, [VISUAL])[VISUAL]
    space = tiny.spaces[VISUAL]
    drawn = tiny.embed([Sample({"canny_edge": values["canny_edge"]})], [VISUAL])[VISUAL]
    scores = (gallery - space.gallery_prior) @ (drawn[0] - space.query_means["canny_edge"].mean(axis=0))
    assert scores[0] > scores[1]


def test_palettes_are_asked_in_the_space_of_colours_which_needs_no_pass(
    tiny: Embedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert tiny.default_space("color_palette") == COLOURS
    assert tiny.spaces[COLOURS].instead == VISUAL
    red = np.full((8, 8, 3), (220, 30, 40), np.uint8)
    samples = [Sample({"rgb": red}), Sample({"rgb": 255 - red})]
    together = tiny.embed_gallery(samples, [VISUAL, COLOURS])
    monkeypatch.setattr(tiny, "_encode", None)  # a call would fail
    stored = tiny.embed_gallery(samples, [COLOURS])[COLOURS]
    np.testing.assert_array_equal(together[COLOURS], stored)
    asked = tiny.embed([Sample({"color_palette": red[0, :1]})], [COLOURS])[COLOURS]
    assert asked @ stored[0] > 0.99 > 0.1 > asked @ stored[1]
    with pytest.raises(FormatInvalid, match="rgb"):
        tiny.embed([Sample({"rgb": red[:, :, 0]})], [COLOURS])


def test_every_modality_has_a_default_space_and_a_mean(tiny: Embedder) -> None:
    assert tiny.modalities >= {"rgb", "caption", "canny_edge", "color_palette"}
    for modality in tiny.modalities:
        assert tiny.default_space(modality) in tiny.spaces
        for name, space in tiny.spaces.items():
            if name not in (TOWERS_SPACE, COLOURS):  # centred block by block as they are made, and not centred
                assert space.query_means[modality].shape[1:] == (space.dimension,)
            assert (space.fingerprint == tiny.fingerprint) == (name != COLOURS)  # which has a version of its own


@pytest.mark.parametrize(
    ("sample", "says"),
    [
        ({}, "a sample without any modality"),
        ({"caption": " "}, "caption is a text of at least one character"),
        ({"rgb": np.zeros((4, 4), np.uint8)}, "rgb is a uint8 array"),
        ({"color_palette": np.zeros((0, 3), np.uint8)}, "color_palette is a uint8 array"),
    ],
)
def test_what_is_no_value_is_refused(tiny: Embedder, sample: dict[str, Value], says: str) -> None:
    with pytest.raises(FormatInvalid, match=says):
        tiny.embed([Sample(sample)], SPACES)


def test_unknown_weights_and_missing_encoders_say_so(tmp_path: Path) -> None:
    with pytest.raises(UnknownModel, match="4m-tiny"):
        load_bundle("4m-huge")
    with pytest.raises(WeightsMissing, match="anyseek models pull encoders"):
        load_embedder("4m-tiny", tmp_path)


def test_the_weights_are_small_enough_for_the_repository() -> None:
    assert sum(path.stat().st_size for path in WEIGHTS.rglob("*") if path.is_file()) <= 32_000_000


def test_the_open_set_has_the_same_network_and_other_towers(tiny: Embedder) -> None:
    free = load_embedder("4m-tiny-open", HOME)
    assert free.spaces.keys() == tiny.spaces.keys()
    assert free.fingerprint != tiny.fingerprint
    samples = [Sample({"caption": "a dog on the grass"})]
    ours, theirs = (model.embed(samples, [TOWERS_SPACE, "semantic_global"]) for model in (tiny, free))
    np.testing.assert_array_equal(ours["semantic_global"], theirs["semantic_global"])
    assert float((ours[TOWERS_SPACE] * theirs[TOWERS_SPACE]).sum()) < 0.9


def test_a_folder_is_a_model_by_its_absolute_path(tiny: Embedder, tmp_path: Path) -> None:
    found = load_embedder(str(WEIGHTS / "4m-tiny"), HOME)
    assert found.name == str(WEIGHTS / "4m-tiny")
    assert found.fingerprint == tiny.fingerprint
    with pytest.raises(UnknownModel, match="does not name bundled weights"):
        load_embedder(str(tmp_path / "nowhere"), HOME)
    with pytest.raises(WeightsMissing, match=r"there is no manifest\.json"):
        load_embedder(str(tmp_path), HOME)
