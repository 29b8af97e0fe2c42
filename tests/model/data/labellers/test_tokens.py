"""Tokens by the file of a tokenizer that was trained here; those of published ones are in test_encoders.py."""

from pathlib import Path

import numpy as np
import pytest
import torch

from anyseek.model.checkpoints.files import save_checkpoint
from anyseek.model.data.errors import RecipeInvalid, SampleInvalid
from anyseek.model.data.labellers.tokens import TOKENS, TokenOptions
from anyseek.model.data.registry import BuildSettings
from anyseek.model.data.samples import DataSample, Shares
from anyseek.model.seam import Regions
from anyseek.model.tokenizers.build import initialise_image_tokenizer
from anyseek.model.tokenizers.config import TokenizerConfig
from anyseek.model.tokenizers.image_vqvae import ImageVQVAE
from anyseek.model.tokenizers.inputs import tokenizer_input

_SHAPE = {"enc_type": "vit_w16b1h2_enc", "dec_type": "vit_w16b1h2_dec", "image_size": 32, "patch_size": 8}


def _saved(path: Path, seen: torch.Tensor | None = None, **values: object) -> ImageVQVAE:
    """A tokenizer with its file; its codes are at random, or of pictures that it has `seen`."""
    network = ImageVQVAE(TokenizerConfig.from_values(_SHAPE | {"latent_dim": 4, "codebook_size": 8} | values))
    initialise_image_tokenizer(network, 0)
    draws = torch.Generator().manual_seed(0)
    latents = torch.randn(2, 4, 4, 4, generator=draws) if seen is None else network.latents(seen).detach()
    network.quantize.place_codes(latents, draws)
    save_checkpoint(network, path)
    return network.eval()


@pytest.fixture
def settings(tmp_path: Path) -> BuildSettings:
    return BuildSettings(tmp_path, 32, Shares())


def test_tokens_are_those_of_the_file(tmp_path: Path, settings: BuildSettings) -> None:
    path = tmp_path / "tokenizer.safetensors"
    network = _saved(path, n_channels=1)
    depth = np.linspace(1, 5, 40 * 40, dtype=np.float32).reshape(40, 40)
    for size, side in ((None, 4), (48, 6)):
        options = TokenOptions(of="depth", tokenizer=path, size=size)
        codes = TOKENS.open(options, settings).label(DataSample("k", {"depth": depth}))["tok_depth"]
        image = torch.from_numpy(tokenizer_input("depth", depth, network.config, size or 32))
        with torch.no_grad():
            assert codes.tolist() == network.encode(image[None])[0].flatten().tolist()
        assert (codes.dtype, codes.shape) == (np.int32, (side * side,))


def test_of_a_drawing_that_is_no_square_the_whole_can_be_taken(tmp_path: Path, settings: BuildSettings) -> None:
    path = tmp_path / "tokenizer.safetensors"
    _saved(path, torch.rand(4, 1, 32, 32, generator=torch.Generator().manual_seed(0)), n_channels=1)
    square = np.zeros((40, 40), np.uint8)
    square[10:29] = np.random.default_rng(0).integers(0, 256, (19, 40), np.uint8)
    cut, whole = (TokenOptions(of="canny_edge", tokenizer=path, whole=whole) for whole in (False, True))

    def tokens(options: TokenOptions, drawing: np.ndarray) -> list[int]:
        return TOKENS.open(options, settings).label(DataSample("k", {"canny_edge": drawing}))["tok_canny_edge"].tolist()

    assert tokens(whole, square[10:29]) == tokens(cut, square)
    assert tokens(cut, square[10:29]) != tokens(cut, square)
    assert TOKENS.fetch(whole, settings) != TOKENS.fetch(cut, settings)


def test_another_file_makes_another_data_set(tmp_path: Path, settings: BuildSettings) -> None:
    first, second = tmp_path / "first.safetensors", tmp_path / "second.safetensors"
    _saved(first, n_channels=1)
    _saved(second, n_channels=1, codebook_size=9)
    said = [TOKENS.fetch(TokenOptions(of="depth", tokenizer=path), settings) for path in (first, second)]
    assert said[0] != said[1]


def test_what_a_file_does_not_take_is_refused(tmp_path: Path, settings: BuildSettings) -> None:
    path = tmp_path / "tokenizer.safetensors"
    _saved(path, n_channels=1)
    for options, says in (
        (TokenOptions(of="rgb", tokenizer=path), "does not take 'rgb'"),
        (TokenOptions(of="instances", tokenizer=path), "any number of instances"),
        (TokenOptions(of="depth", tokenizer=path, size=20), "size must be a multiple of 8"),
        (TokenOptions(of="depth", tokenizer=path, whole=True), "only drawings"),
        (TokenOptions(of="canny_edge", whole=True), "whole needs tokenizer, because"),
    ):
        with pytest.raises(RecipeInvalid, match=says):
            TOKENS.open(options, settings)
    labels = tmp_path / "labels.safetensors"
    _saved(labels, n_channels=3, n_labels=2)
    labeller = TOKENS.open(TokenOptions(of="semseg", tokenizer=labels), settings)
    regions = Regions(np.full((32, 32), 7), {})
    with pytest.raises(SampleInvalid, match="takes ids from 0 to 1, not 7"):
        labeller.label(DataSample("k", {"semseg": regions}))
