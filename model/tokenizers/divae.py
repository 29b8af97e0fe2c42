"""The tokenizers of pictures, depth, normals and edges: a ViT encoder, lucid codes and a diffusion decoder."""

from functools import cached_property

import torch
from torch import Tensor

from anyseek.model.network.config import ConfigInvalid
from anyseek.model.tokenizers.config import TokenizerConfig
from anyseek.model.tokenizers.diffusion import (
    Diffusion,
    NoiseSource,
    Prediction,
    Progress,
    Sampling,
    Scheduler,
    alphas_cumprod,
    sample,
)
from anyseek.model.tokenizers.image_vqvae import ImageTokenizer
from anyseek.model.tokenizers.unet import PatchedUNet, UNetShape


class DiVAE(ImageTokenizer):
    """Images to tokens, and back by a diffusion that sees the codes (Mizrahi et al., arXiv 2312.06647).

    Decoding starts from noise: the same tokens and the same noise give the same image. `unet` is the decoder's shape
    where the config's keys do not say all of it.
    """

    def __init__(self, config: TokenizerConfig, unet: UNetShape | None = None) -> None:
        super().__init__(config)
        _check(config)
        shape = unet or UNetShape(width=config.unet_width, blocks_a_level=config.unet_blocks)
        self.decoder = PatchedUNet(config.n_channels, config.latent_dim, shape)

    @cached_property
    def diffusion(self) -> Diffusion:
        """What the decoder was trained to undo."""
        config = self.config
        alphas = alphas_cumprod(
            config.beta_schedule, config.num_train_timesteps, zero_terminal_snr=config.zero_terminal_snr
        )
        # thresholding at the largest value 1, the only published one, is clipping whatever the quantile is
        clips = config.thresholding or config.clip_sample
        return Diffusion(tuple(alphas.tolist()), Prediction(config.prediction_type), clips)

    @property
    def default_sampling(self) -> Sampling:
        """25 steps of the scheduler that the config names."""
        return Sampling(Scheduler(self.config.scheduler))

    def denoise(self, image: Tensor, timestep: int, codes: Tensor) -> Tensor:
        """The network's prediction: noisy image (B, C, H, W) and codes (B, L, h, w), float -> float32 (B, C, H, W)."""
        timesteps = torch.full((len(image),), timestep, device=image.device)
        predicted: Tensor = self.decoder(image.to(codes.dtype), timesteps, codes)
        return predicted.float()

    @torch.inference_mode()
    def decode_tokens(
        self,
        tokens: Tensor,
        noise: NoiseSource,
        sampling: Sampling | None = None,
        size: tuple[int, int] | None = None,
        progress: Progress | None = None,
    ) -> Tensor:
        """Tokens int (B, h, w) -> images float32 (B, C, H, W), in [-1, 1] unless the config turns clipping off.

        The first draw from `noise` is the image that the diffusion starts from, DDPM draws one more for each step
        but the last. `size` (H, W), multiples of 32, is the tokens' grid times the patch where it is not given;
        `sampling` is `default_sampling`. Raises ValueError for another size or a number of steps out of range.
        """
        codes = self.quantize.lookup(tokens)
        rows, columns = tokens.shape[1:]
        height, width = size or (rows * self.patch, columns * self.patch)
        start = noise((len(tokens), self.config.n_channels, height, width)).to(codes.device)

        def predict(image: Tensor, timestep: int) -> Tensor:
            return self.denoise(image, timestep, codes)

        return sample(predict, start, self.diffusion, sampling or self.default_sampling, noise, progress)


def _check(config: TokenizerConfig) -> None:
    """Refuse what no published diffusion decoder has."""
    wanted = {
        "conditioning": ("concat",),
        "prediction_type": tuple(Prediction),
        "scheduler": tuple(Scheduler),
        "n_labels": (None,),
    }
    for name, values in wanted.items():
        if getattr(config, name) not in values:
            known = " or ".join(str(value) for value in values)
            raise ConfigInvalid(f"a diffusion decoder needs {name} {known}, not {getattr(config, name)!r}")
    if config.unet_width % 32:
        raise ConfigInvalid(f"a diffusion decoder needs a unet_width that is a multiple of 32, not {config.unet_width}")
