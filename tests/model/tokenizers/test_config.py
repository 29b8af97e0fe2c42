"""Reading a tokenizer's config and telling its class."""

import gzip
import json
from dataclasses import replace
from pathlib import Path

import pytest

from anyseek.model.network.config import ConfigInvalid, parse_metadata
from anyseek.model.tokenizers.config import TokenizerConfig

KEYS = Path(__file__).parents[2] / "golden" / "keys"
DIFFUSION = {"rgb_16k_224-448", "depth_8k_224-448", "normal_8k_224-448", "edge_8k_224-512"}


def _published() -> dict[str, dict[str, object]]:
    documents = {path.name.split(".")[0]: json.loads(gzip.decompress(path.read_bytes())) for path in KEYS.glob("*.gz")}
    return {name: document["config"] for name, document in documents.items() if "cls" in document}


def test_the_class_of_every_published_tokenizer() -> None:
    published = _published()
    assert len(published) == 12
    assert {name for name, values in published.items() if TokenizerConfig.from_values(values).is_diffusion} == DIFFUSION


@pytest.mark.parametrize("key", ["beta_schedule", "prediction_type"])
def test_a_config_without_decoder_is_a_diffusion_by_its_schedule(key: str) -> None:
    assert TokenizerConfig.from_values({key: "linear"}).is_diffusion
    assert not TokenizerConfig.from_values({key: "linear", "dec_type": "vit_b_dec"}).is_diffusion
    assert not TokenizerConfig.from_values({}).is_diffusion


def test_strings_of_a_checkpoint_become_values() -> None:
    texts = {"n_labels": "134", "image_size_enc": "None", "patch_proj": "False", "beta_schedule": "shifted_cosine:0.5"}
    config = TokenizerConfig.from_values(parse_metadata(texts | {"format": "pt", "ema_decay": "1e-06"}))
    assert config.n_labels == 134
    assert config.image_size_enc is None
    assert config.patch_proj is False
    assert config.beta_schedule == "shifted_cosine:0.5"


def test_metadata_round_trip() -> None:
    config = TokenizerConfig(n_labels=7, image_size_dec=64, norm_codes=False, dec_type="unet_patched", clip_sample=True)
    assert TokenizerConfig.from_values(parse_metadata(config.to_metadata())) == config


def test_sides_have_their_own_sizes() -> None:
    config = TokenizerConfig(image_size=64, patch_size=16)
    assert (config.encoder_grid, config.decoder_grid, config.decoder_patch) == (4, 4, 16)
    config = replace(config, image_size_enc=96, image_size_dec=80, patch_size_dec=8)
    assert (config.encoder_grid, config.decoder_grid, config.decoder_patch) == (6, 10, 8)


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ({"n_labels": "many"}, "'n_labels' must be int | None"),
        ({"patch_size": 0}, "'patch_size' must be 1 or more"),
        ({"codebook_size": None}, "'codebook_size' must be int"),
        ({"patch_proj": 1}, "'patch_proj' must be bool"),
    ],
)
def test_malformed_values_are_named(values: dict[str, object], complaint: str) -> None:
    with pytest.raises(ConfigInvalid) as caught:
        TokenizerConfig.from_values(values)
    assert complaint in str(caught.value)
