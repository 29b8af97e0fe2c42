"""Diffusion tokenizers end to end, with a small UNet."""

from dataclasses import replace

import pytest
import torch

from anyseek.model.network.config import ConfigInvalid
from anyseek.model.tokenizers.config import TokenizerConfig
from anyseek.model.tokenizers.diffusion import Prediction, Sampling, Scheduler, seeded_noise
from anyseek.model.tokenizers.divae import DiVAE, PatchedUNet
from tests.golden.weights import fill_weights

CONFIG = TokenizerConfig(
    n_channels=1,
    enc_type="vit_s_enc",
    dec_type="unet_patched",
    codebook_size=16,
    latent_dim=8,
    image_size=32,
    prediction_type="sample",
    beta_schedule="linear",
    unet_width=32,
    unet_blocks=1,
)
SAMPLING = Sampling(Scheduler.DDIM, 2)


@pytest.fixture(scope="module")
def divae() -> DiVAE:
    made = DiVAE(CONFIG)
    fill_weights(made)
    return made.eval()


def test_images_become_tokens_and_images_again(divae: DiVAE) -> None:
    tokens = divae.encode(torch.randn(2, 1, 64, 32))
    assert tokens.shape == (2, 4, 2)
    image = divae.decode_tokens(tokens, seeded_noise(0), SAMPLING)
    assert image.shape == (2, 1, 64, 32)
    assert image.dtype == torch.float32
    assert image.abs().max() <= 1


def test_the_image_depends_on_seed_and_tokens(divae: DiVAE) -> None:
    tokens = torch.tensor([[[0, 5], [9, 2]]])
    image = divae.decode_tokens(tokens, seeded_noise(1), SAMPLING)
    assert torch.equal(divae.decode_tokens(tokens, seeded_noise(1), SAMPLING), image)
    assert not torch.allclose(divae.decode_tokens(tokens, seeded_noise(2), SAMPLING), image)
    assert not torch.allclose(divae.decode_tokens(tokens + 1, seeded_noise(1), SAMPLING), image)


def test_another_size_and_progress(divae: DiVAE) -> None:
    told: list[tuple[int, int]] = []
    tokens = torch.tensor([[[0, 5], [9, 2]]])
    image = divae.decode_tokens(tokens, seeded_noise(1), SAMPLING, (32, 64), lambda *step: told.append(step))
    assert image.shape == (1, 1, 32, 64)
    assert told == [(1, 2), (2, 2)]


def test_the_config_names_the_scheduler_and_what_is_predicted() -> None:
    with torch.device("meta"):
        default, other = (
            DiVAE(replace(CONFIG, prediction_type="v_prediction")),
            DiVAE(replace(CONFIG, scheduler="ddim", thresholding=False, num_train_timesteps=100)),
        )
    assert default.default_sampling == Sampling(Scheduler.DDPM, 25)
    assert other.default_sampling.scheduler is Scheduler.DDIM
    assert default.diffusion.prediction is Prediction.VELOCITY
    assert default.diffusion.clips
    assert not other.diffusion.clips
    assert len(other.diffusion.alphas_cumprod) == 100
    assert other.diffusion.alphas_cumprod[-1] == 0


def test_half_precision_decodes_to_nearly_the_same(divae: DiVAE) -> None:
    half = DiVAE(CONFIG)
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
def test_unsupported_configs_are_named(changes: dict[str, object], complaint: str) -> None:
    with torch.device("meta"), pytest.raises(ConfigInvalid, match=complaint):
        DiVAE(replace(CONFIG, **changes))


@pytest.fixture(scope="module")
def unet() -> PatchedUNet:
    made = PatchedUNet(channels=3, latent_dim=5, width=32, blocks=1)
    fill_weights(made)
    return made.eval()


def test_stages_are_numbered_as_published() -> None:
    with torch.device("meta"):
        unet = PatchedUNet(channels=1, latent_dim=32)
    assert (len(unet.input_blocks), len(unet.middle_block), len(unet.output_blocks)) == (16, 3, 16)
    assert [len(stage) for stage in unet.input_blocks] == [1] * 9 + [2] * 3 + [1] + [2] * 3
    assert [len(stage) for stage in unet.output_blocks] == [2, 2, 2, 3, 2, 2, 2, 3, 1, 1, 1, 2, 1, 1, 1, 1]


def test_unsupported_sides_are_rejected(unet: PatchedUNet) -> None:
    with pytest.raises(ValueError, match="32 x 40 must have sides that are multiples of 32"):
        unet(torch.zeros(1, 3, 32, 40), torch.tensor([0]), torch.zeros(1, 5, 1, 1))
