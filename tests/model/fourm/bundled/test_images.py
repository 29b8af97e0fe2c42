"""Predicted images as values, and the squares of inputs that they are of."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from model.errors import WeightsCorrupt
from model.fourm.bundled.bundle import load_bundle
from model.fourm.bundled.dense_shortcuts import save_dense_shortcuts
from model.fourm.bundled.images import DENSE_SHORTCUTS, DenseTarget, token_difference
from model.fourm.bundled.layout import DENSE
from model.modalities.registry import MODALITIES
from model.modalities.values import check_value
from model.network.config import EmbeddingKind, ModalityConfig
from model.seam import Regions
from model.tokenizers.image_vqvae import ImageDecoder
from tests.random_bundle import random_dense_shortcuts, random_image_tokenizer, write_manifest, write_random_bundle


@pytest.mark.parametrize("name", ["rgb", "depth", "normal", "semseg", "canny_edge"])
def test_tokens_become_values_of_their_modality(name: str) -> None:
    target = DenseTarget(name, ImageDecoder(random_image_tokenizer(name)), {1: "wall", 9: "nowhere"})
    value = target.value(torch.arange(16).view(4, 4))
    check_value(MODALITIES[name], value)
    if isinstance(value, Regions):
        assert value.classes == {1: "wall"} if (value.ids == 1).any() else {}
        assert value.ids.shape == (32, 32)
    else:
        assert np.asarray(value).shape[:2] == (32, 32)


def test_keys_are_those_that_tokens_have_in_data_sets() -> None:
    assert DENSE["depth"] == "tok_depth"
    assert not DENSE.keys() & {"caption", "metadata", "visual_global", "clip", "bounding_boxes"}


def test_other_tokens_are_told_in_words() -> None:
    config = random_image_tokenizer("depth").config
    row = ModalityConfig("tok_depth", EmbeddingKind.IMAGE_TOKENS, (4, 4), vocabulary=32)
    assert token_difference(row, config) == ""
    other = ModalityConfig("tok_depth", EmbeddingKind.IMAGE_TOKENS, (4, 2), vocabulary=64)
    assert token_difference(other, config) == (
        "makes 4 x 4 tokens of 32 codes; the network's tok_depth has 4 x 2 of 64"
    )


def test_of_several_inputs_the_one_that_explains_most_adds_to_the_codes() -> None:
    decoder, shortcuts = ImageDecoder(random_image_tokenizer("depth")), random_dense_shortcuts()
    plain, target = DenseTarget("depth", decoder, {}), DenseTarget("depth", decoder, {}, shortcuts)
    shares = torch.rand(4, 4, 32, generator=torch.Generator().manual_seed(0)).softmax(dim=-1)
    maps = {name: torch.randn(1, 256, 7, 7, generator=torch.Generator().manual_seed(1)) for name in shortcuts}
    both = target.expected(shares, maps)
    np.testing.assert_array_equal(both, target.expected(shares, {"canny_edge": maps["canny_edge"]}))
    assert not np.array_equal(both, target.expected(shares, {"rgb": maps["rgb"]}))
    for unknown in ({}, {"normal": maps["rgb"]}):
        np.testing.assert_array_equal(target.expected(shares, unknown), plain.expected(shares, maps))


@pytest.mark.parametrize("part", ["target", "input", "map", "codes"])
def test_shortcuts_that_do_not_fit_the_network_are_refused(part: str, tmp_path: Path) -> None:
    folder = tmp_path / "4m-tiny"
    write_random_bundle(folder, dense=["depth"])
    good = random_dense_shortcuts()["rgb"]
    odd = {
        "target": {"normal": {"rgb": good}},
        "input": {"depth": {"caption": good}},
        "map": {"depth": {"rgb": replace(good, down=torch.zeros(6, 783))}},
        "codes": {"depth": {"rgb": replace(good, up=torch.zeros(6, 120), bias=torch.zeros(120))}},
    }
    save_dense_shortcuts(odd[part], folder / DENSE_SHORTCUTS)
    write_manifest(folder)
    with pytest.raises(WeightsCorrupt, match=r"has a shortcut to \w+ from \w+ that does not fit the network"):
        load_bundle("4m-tiny", folder)
