"""Diffusion tokenizers end to end, with a small UNet."""

from dataclasses import replace

import pytest
import torch

from anyseek.model.network.config import ConfigInvalid
from anyseek.model.tokenizers.config import TokenizerConfig
from anyseek.model.tokenizers.diffusion import Prediction, Sampling, Scheduler, seeded_noise
from anyseek.model.tokenizers.divae import DiVAE
from anyseek.model.tokenizers.unet import UNetShape
from tests.golden.weights import fill_weights

UNET = UNetShape(patch=2, width=32, multipliers=(1, 2), blocks_a_level=1, attention_levels=frozenset({1}))
CONFIG = TokenizerConfig(
    n_channels=1,
    enc_type="vit_s_enc",
    dec_type="unet_patched",
    codebook_size=16,
    latent_dim=8,
    image_size=32,
    prediction_type="sample",
    beta_schedule="linear",
)
SAMPLING = Sampling(Scheduler.DDIM, 2)


@pytest.fixture(scope="module")
def divae() -> DiVAE:
    made = DiVAE(CONFIG, UNET)
    fill_weights(made)
    return made.eval()


def test_images_become_tokens_and_images_again(divae: DiVAE) -> None:
    tokens = divae.encode(torch.randn(2, 1, 48, 32))
    assert tokens.shape == (2, 3, 2)
    image = divae.decode_tokens(tokens, seeded_noise(0), SAMPLING)
    assert image.shape == (2, 1, 48, 32)
    assert image.dtype == torch.float32
    assert image.abs().max() <= 1


def test_a_seed_fixes_the_image_and_tokens_matter(divae: DiVAE) -> None:
    tokens = torch.tensor([[[0, 5], [9, 2]]])
    image = divae.decode_tokens(tokens, seeded_noise(1), SAMPLING)
    assert torch.equal(divae.decode_tokens(tokens, seeded_noise(1), SAMPLING), image)
    assert not torch.allclose(divae.decode_tokens(tokens, seeded_noise(2), SAMPLING), image)
    assert not torch.allclose(divae.decode_tokens(tokens + 1, seeded_noise(1), SAMPLING), image)


def test_another_size_and_progress(divae: DiVAE) -> None:
    told: list[tuple[int, int]] = []
    tokens = torch.tensor([[[0, 5], [9, 2]]])
    image = divae.decode_tokens(tokens, seeded_noise(1), SAMPLING, (16, 24), lambda *step: told.append(step))
    assert image.shape == (1, 1, 16, 24)
    assert told == [(1, 2), (2, 2)]


def test_the_config_names_the_scheduler_and_what_is_predicted() -> None:
    with torch.device("meta"):
        default, other = (
            DiVAE(replace(CONFIG, prediction_type="v_prediction"), UNET),
            DiVAE(replace(CONFIG, scheduler="ddim", thresholding=False, num_train_timesteps=100), UNET),
        )
    assert default.default_sampling == Sampling(Scheduler.DDPM, 25)
    assert other.default_sampling.scheduler is Scheduler.DDIM
    assert default.diffusion.prediction is Prediction.VELOCITY
    assert default.diffusion.clips
    assert not other.diffusion.clips
    assert len(other.diffusion.alphas_cumprod) == 100
    assert other.diffusion.alphas_cumprod[-1] == 0


def test_half_precision_decodes_to_nearly_the_same(divae: DiVAE) -> None:
    half = DiVAE(CONFIG, UNET)
    half.load_state_dict(divae.state_dict())
    half.eval().to(torch.bfloat16)
    tokens = torch.tensor([[[0, 5], [9, 2]]])
    whole = divae.decode_tokens(tokens, seeded_noise(1), SAMPLING)
    got = half.decode_tokens(tokens, seeded_noise(1), SAMPLING)
    assert got.dtype == torch.float32
    assert (got - whole).abs().mean() < 0.05


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"conditioning": "cross"}, "conditioning concat"),
        ({"prediction_type": "epsilon"}, "prediction_type sample or v_prediction"),
        ({"scheduler": "pndm"}, "scheduler ddpm or ddim"),
        ({"n_labels": 4}, "n_labels None"),
        ({"unet_width": 48}, "multiple of 32"),
    ],
)
def test_what_it_cannot_be_is_explained(changes: dict[str, object], complaint: str) -> None:
    with torch.device("meta"), pytest.raises(ConfigInvalid, match=complaint):
        DiVAE(replace(CONFIG, **changes), UNET)
